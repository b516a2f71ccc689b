// @ts-check
const BACKOFF_BASE = 1000 // ms
const BACKOFF_CAP = 30_000 // ms
const POLLING = 15_000 // ms at least between two attempts, once sockets do not get through
const MOST_FAILURES = 3 // in a row without a word of the server, until it is tried without a socket
const OPENING_TIMEOUT = 20_000 // ms, until `register`
const TOO_FAST_DELAY = 30_000 // ms
const PROBE_TIMEOUT = 5000 // ms

// Close codes
const FINAL = [1000, 4400, 4401, 4403] // normal, protocol abuse, not logged in, deactivated
const SESSION_CHANGED = 4402
const EVICTED = 4409
const TOO_FAST = 4429

// Keeps a WebSocket open: opens it again after a loss, as its close code tells, or lets it be.
//
// Status: "connecting", "recovering" (the server tells what was missed), "online",
// "offline" (it will be tried again), "polling" (likewise, and `poll` gets through),
// "paused" (until `wake`) and "closed" (it will not).
export class Connection {
  status = "closed"
  url
  poll
  onFrame
  onStatus

  #socket
  #monitor
  #timer
  #attempts = 0
  #failures = 0
  #dueAt = 0
  #notBefore = 0
  #bye
  #sessionHasChanged = false

  // callbacks: url(); poll(), which catches up without a socket, and rejects where that
  // fails too; onFrame(frame); onStatus(status)
  constructor(callbacks) {
    Object.assign(this, callbacks)
    this.#monitor = new Monitor({ send: this.#beat, onStale: () => this.#lose() })
  }

  start() {
    if (!this.#socket) this.#open()
  }

  // Closes the socket; `start` opens it again.
  stop() {
    this.#drop()
    this.#setStatus("closed")
  }

  // Opens another socket in place of this one, with the URL of now.
  restart() {
    if (this.#socket) this.#lose()
  }

  // Somebody looks: sees whether the socket lives, or opens it.
  wake() {
    if (this.#socket) this.#monitor.probe()
    else if (performance.now() >= this.#notBefore) this.#open()
  }

  // What is due and was not done, as the timers of hidden tabs are late.
  check() {
    if (!this.#socket && performance.now() >= this.#dueAt) this.#open()
  }

  // Private

  #open() {
    this.#drop()
    this.#bye = undefined
    if (this.status !== "polling") this.#setStatus("connecting")
    const socket = new WebSocket(this.url())
    this.#socket = socket
    socket.addEventListener("message", this.#receive)
    socket.addEventListener("close", this.#closed)
    this.#timer = setTimeout(() => this.#lose(), OPENING_TIMEOUT)
  }

  // A dead peer answers no closing handshake: what the old socket still says must not matter.
  #drop() {
    clearTimeout(this.#timer)
    this.#dueAt = Infinity
    this.#monitor.stop()
    const socket = this.#socket
    this.#socket = undefined
    if (!socket) return
    socket.removeEventListener("message", this.#receive)
    socket.removeEventListener("close", this.#closed)
    // Closed while it is being opened, it would be an error in the console.
    if (socket.readyState === WebSocket.CONNECTING) socket.addEventListener("open", () => socket.close())
    else socket.close()
  }

  #lose(delay = this.#backoff()) {
    this.#drop()
    this.#notBefore = 0
    if (this.status === "polling") delay = Math.max(delay, POLLING)
    else this.#setStatus("offline")
    this.#dueAt = performance.now() + delay
    this.#timer = setTimeout(() => this.#open(), delay)
    if (++this.#failures >= MOST_FAILURES) this.#poll()
  }

  async #poll() {
    const isWaiting = () => this.#dueAt < Infinity
    try {
      await this.poll()
      if (isWaiting()) this.#setStatus("polling")
    } catch (error) {
      if (error.name !== "ApiError") throw error
      if (isWaiting()) this.#setStatus("offline")
    }
  }

  #receive = ({ data }) => {
    this.#monitor.recordFrame()
    const frame = parse(data)
    if (!frame) return
    switch (frame.type) {
      case "register":
        clearTimeout(this.#timer)
        this.#failures = 0
        this.#monitor.start(frame.heartbeat)
        this.#setStatus("recovering")
        break
      case "ping":
        this.#beat()
        break
      case "bye":
        this.#bye = frame
        break
    }
    this.onFrame(frame)
    // Its counts say that nothing is missing any more.
    if (frame.type === "heartbeat" && frame.unread !== undefined && this.#socket) this.#settle()
  }

  #settle() {
    this.#attempts = 0
    this.#sessionHasChanged = false
    this.#setStatus("online")
  }

  #closed = ({ code }) => {
    if (FINAL.includes(code) || (code === SESSION_CHANGED && this.#sessionHasChanged)) return this.stop()
    if (code === EVICTED) {
      // Newer connections of the account took this one's place.
      this.#drop()
      return this.#setStatus("paused")
    }
    if (code > 4000) this.#failures = 0
    this.#sessionHasChanged = code === SESSION_CHANGED
    const least = code === TOO_FAST ? TOO_FAST_DELAY : 0
    const told = Math.max((this.#bye?.delay ?? 0) * 1000, least)
    this.#lose(this.#sessionHasChanged ? told : told + this.#backoff())
    if (code === TOO_FAST) this.#notBefore = this.#dueAt
  }

  // Full jitter, so that the clients of a server that restarts do not all come back at once.
  #backoff() {
    const most = Math.min(BACKOFF_CAP, BACKOFF_BASE * 2 ** this.#attempts++)
    return Math.random() * most
  }

  #beat = () => {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send('{"type":"heartbeat"}')
  }

  #setStatus(status) {
    if (status === this.status) return
    this.status = status
    this.onStatus(status)
  }
}

function parse(data) {
  try {
    const frame = JSON.parse(data)
    return typeof frame?.type === "string" ? frame : null
  } catch {
    return null
  }
}

// Judges whether a socket still lives, and shows the server that this end does.
//
// Timers of hidden tabs run as rarely as once a minute, message handlers do not wait:
// silence is therefore measured from the last frame, and a ping is answered where it arrives.
class Monitor {
  #timer
  #probe
  #heardAt = 0
  send
  onStale
  timeout

  constructor({ send, onStale }) {
    Object.assign(this, { send, onStale })
  }

  // interval and timeout in seconds, as `register` gives them
  start({ interval, timeout }) {
    this.stop()
    this.timeout = timeout * 1000
    this.recordFrame()
    this.#timer = setInterval(this.#beat, interval * 1000)
  }

  stop() {
    clearInterval(this.#timer)
    clearTimeout(this.#probe)
    this.#timer = this.#probe = undefined
  }

  recordFrame() {
    this.#heardAt = performance.now()
    clearTimeout(this.#probe)
    this.#probe = undefined
  }

  // Asks at once, for a tab that comes back: the socket may have died while the computer slept.
  probe() {
    if (!this.#timer || this.#probe) return
    this.send()
    this.#probe = setTimeout(this.onStale, Math.min(PROBE_TIMEOUT, this.timeout))
  }

  // Private

  #beat = () => {
    if (performance.now() - this.#heardAt > this.timeout) this.onStale()
    else this.send()
  }
}

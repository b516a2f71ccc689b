// @ts-check
const FIRST_BACKOFF_MS = 1000
const MAX_BACKOFF_MS = 30_000
const MIN_POLL_INTERVAL_MS = 15_000 // between two attempts, while WebSockets are blocked
const MAX_FAILURES = 3 // in a row without a frame from the server, before it polls over HTTP
const OPENING_TIMEOUT_MS = 20_000 // until `register`
const TOO_FAST_DELAY_MS = 30_000
const PROBE_TIMEOUT_MS = 5000

// Close codes
const NOT_LOGGED_IN = 4401
const LOGGED_OUT = [NOT_LOGGED_IN, 4403] // 4403: deactivated
const FINAL = [1000, 4400] // normal, protocol abuse
const SESSION_CHANGED = 4402
const EVICTED = 4409
const TOO_FAST = 4429

// Keeps a WebSocket open. What it does after a close depends on the close code.
//
// Status: "connecting", "recovering" (catching up), "online", "offline" (it will try again),
// "polling" (likewise, but `poll` succeeds), "paused" (until `wake`), "logged_out" and
// "closed" (it will not try again).
export class Connection {
  status = "closed"
  url
  poll
  onFrame
  onStatus

  #webSocket
  #monitor
  #timer
  #attempts = 0
  #failures = 0
  #dueAt = 0
  #notBefore = 0
  #bye
  #sessionHasChanged = false

  // callbacks: url(); poll(), which catches up over HTTP, and rejects if that fails too;
  // onFrame(frame); onStatus(status)
  constructor(callbacks) {
    Object.assign(this, callbacks)
    this.#monitor = new Monitor({ send: this.#beat, onStale: () => this.#reconnect() })
  }

  start() {
    if (!this.#webSocket) this.#open()
  }

  // `start` connects again.
  stop(status = "closed") {
    this.#drop()
    this.#setStatus(status)
  }

  // Replaces the WebSocket with a new one, at the current URL.
  restart() {
    if (this.#webSocket) this.#reconnect()
  }

  // When the page is looked at again: checks whether the server answers, or connects.
  wake() {
    if (this.#webSocket) this.#monitor.probe()
    else if (performance.now() >= this.#notBefore) this.#open()
  }

  // Does what is overdue: the timers of hidden tabs are late.
  check() {
    if (!this.#webSocket && performance.now() >= this.#dueAt) this.#open()
  }

  // Private

  #open() {
    this.#drop()
    this.#bye = undefined
    if (this.status !== "polling") this.#setStatus("connecting")
    const webSocket = openWebSocket(this.url())
    if (!webSocket) return this.#reconnect()
    this.#webSocket = webSocket
    webSocket.addEventListener("message", this.#receive)
    webSocket.addEventListener("close", this.#closed)
    this.#timer = setTimeout(() => this.#reconnect(), OPENING_TIMEOUT_MS)
  }

  // A dead server does not answer a closing handshake, so later events are ignored.
  #drop() {
    clearTimeout(this.#timer)
    this.#dueAt = Infinity
    this.#monitor.stop()
    const webSocket = this.#webSocket
    this.#webSocket = undefined
    if (!webSocket) return
    webSocket.removeEventListener("message", this.#receive)
    webSocket.removeEventListener("close", this.#closed)
    // Closing it while it opens would log an error in the console.
    if (webSocket.readyState === WebSocket.CONNECTING) webSocket.addEventListener("open", () => webSocket.close())
    else webSocket.close()
  }

  #reconnect(delay = this.#backoff()) {
    this.#drop()
    this.#notBefore = 0
    if (this.status === "polling") delay = Math.max(delay, MIN_POLL_INTERVAL_MS)
    else this.#setStatus("offline")
    this.#dueAt = performance.now() + delay
    this.#timer = setTimeout(() => this.#open(), delay)
    if (++this.#failures >= MAX_FAILURES) this.#poll()
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
    // A heartbeat has counts only when no change is missing any more.
    if (frame.type === "heartbeat" && frame.unread !== undefined && this.#webSocket) this.#settle()
  }

  #settle() {
    this.#attempts = 0
    this.#sessionHasChanged = false
    this.#setStatus("online")
  }

  #closed = ({ code }) => {
    if (code > 4000) this.#failures = 0
    const isRefused = ["connecting", "polling"].includes(this.status)
    if (code === NOT_LOGGED_IN && isRefused) return this.#pollInstead()
    if (LOGGED_OUT.includes(code)) return this.stop("logged_out")
    if (FINAL.includes(code) || (code === SESSION_CHANGED && this.#sessionHasChanged)) return this.stop()
    // The account has too many newer connections.
    if (code === EVICTED) return this.stop("paused")
    this.#sessionHasChanged = code === SESSION_CHANGED
    const minDelay = code === TOO_FAST ? TOO_FAST_DELAY_MS : 0
    const delay = Math.max((this.#bye?.delay ?? 0) * 1000, minDelay)
    this.#reconnect(this.#sessionHasChanged ? delay : delay + this.#backoff())
    if (code === TOO_FAST) this.#notBefore = this.#dueAt
  }

  // Refused from the start, the session is over, and `poll` ends this connection too; or somebody
  // impersonates the page's account, which the site's views know and its WebSockets don't.
  async #pollInstead() {
    const refused = this.#webSocket
    try {
      await this.poll()
      if (refused === this.#webSocket) this.#setStatus("polling")
    } catch (error) {
      if (error.name !== "ApiError") throw error
      if (refused === this.#webSocket) this.#setStatus("offline")
    }
    if (refused === this.#webSocket) this.#reconnect()
  }

  // Full jitter, so that the clients of a restarted server do not all come back at once.
  #backoff() {
    const max = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** this.#attempts++)
    return Math.random() * max
  }

  #beat = () => {
    if (this.#webSocket?.readyState === WebSocket.OPEN) this.#webSocket.send('{"type":"heartbeat"}')
  }

  #setStatus(status) {
    if (status === this.status) return
    this.status = status
    this.onStatus(status)
  }
}

// A browser or its policy may refuse any: then the network counts as blocked.
function openWebSocket(url) {
  try {
    return new WebSocket(url)
  } catch {
    return null
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

// Checks whether the server still answers, and shows it that this client does.
//
// Timers of hidden tabs may run only once a minute, but message handlers run at once. So silence
// is measured from the last frame, and a ping is answered where it arrives.
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

  // Asks the server at once when a tab is looked at again: the computer may have slept.
  probe() {
    if (!this.#timer || this.#probe) return
    this.send()
    this.#probe = setTimeout(this.onStale, Math.min(PROBE_TIMEOUT_MS, this.timeout))
  }

  // Private

  #beat = () => {
    if (performance.now() - this.#heardAt > this.timeout) this.onStale()
    else this.send()
  }
}

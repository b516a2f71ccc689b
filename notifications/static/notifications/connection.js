import { Monitor } from "./monitor.js";

const BACKOFF_BASE = 1000 // ms
const BACKOFF_CAP = 30_000 // ms
const POLLING = 15_000 // ms at least between two attempts, once sockets do not get through
const MOST_FAILURES = 3 // in a row without a word of the server, until it is tried without a socket
const OPENING_TIMEOUT = 20_000 // ms, until `register`
const TOO_FAST_DELAY = 30_000 // ms

const CLOSE = {
  normal: 1000,
  protocolAbuse: 4400,
  notLoggedIn: 4401,
  sessionChanged: 4402,
  deactivated: 4403,
  evicted: 4409,
  tooFast: 4429
}
const FINAL = [CLOSE.normal, CLOSE.protocolAbuse, CLOSE.notLoggedIn, CLOSE.deactivated]

// Keeps a WebSocket open: opens it again after a loss, as its close code tells, or lets it be.
//
// Status: "connecting", "recovering" (the server tells what was missed), "online",
// "offline" (it will be tried again), "polling" (likewise, and `poll` gets through),
// "paused" (until `wake`) and "closed" (it will not).
export class Connection {
  status = "closed"

  #socket
  #monitor
  #timer
  #attempts = 0
  #failures = 0
  #dueAt = 0
  #notBefore = 0
  #bye
  #sessionHasChanged = false

  // poll: catches up without a socket; rejects where that fails too
  constructor({ url, heartbeat, poll, onFrame, onStatus }) {
    Object.assign(this, { url, heartbeat, poll, onFrame, onStatus })
    this.#monitor = new Monitor({ send: (frame) => this.#send(frame), onStale: () => this.#lose() })
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
        this.#monitor.start(frame.heartbeat ?? this.heartbeat)
        this.#setStatus("recovering")
        break
      case "ping":
        this.#monitor.answerPing()
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
    if (FINAL.includes(code)) return this.stop()
    if (code === CLOSE.evicted) {
      // Newer connections of the account took this one's place.
      this.#drop()
      return this.#setStatus("paused")
    }
    if (code === CLOSE.sessionChanged) {
      if (this.#sessionHasChanged) return this.stop()
      this.#sessionHasChanged = true
      return this.#lose((this.#bye?.delay ?? 0) * 1000)
    }
    if (code > 4000) this.#failures = 0
    const told = (this.#bye?.delay ?? 0) * 1000
    if (code === CLOSE.tooFast) {
      const delay = Math.max(told, TOO_FAST_DELAY) + this.#backoff()
      this.#lose(delay)
      this.#notBefore = performance.now() + delay
    } else {
      this.#lose(told + this.#backoff())
    }
  }

  // Full jitter, so that the clients of a server that restarts do not all come back at once.
  #backoff() {
    const most = Math.min(BACKOFF_CAP, BACKOFF_BASE * 2 ** this.#attempts++)
    return Math.random() * most
  }

  #send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame))
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

import { Monitor } from "./monitor.js";

const BACKOFF_BASE = 1000 // ms
const BACKOFF_CAP = 30_000 // ms
const OPENING_TIMEOUT = 20_000 // ms, until `register`
const TOO_FAST_DELAY = 30_000 // ms
const HEARTBEAT = { interval: 9, timeout: 20 } // seconds, when `register` says nothing

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
// "offline" (it will be tried again), "paused" (only when somebody uses the tab) and
// "closed" (it will not).
export class Connection {
  status = "closed"

  #socket
  #monitor
  #timer
  #attempts = 0
  #notBefore = 0
  #bye
  #sessionHasChanged = false
  #pausing

  constructor({ url, onFrame, onStatus }) {
    Object.assign(this, { url, onFrame, onStatus })
    this.#monitor = new Monitor({ send: (frame) => this.#send(frame), onStale: () => this.#lose() })
  }

  start() {
    addEventListener("online", this.#wake)
    document.addEventListener("visibilitychange", this.#wake)
    if (!this.#socket) this.#open()
  }

  // Closes the socket; `start` opens it again.
  stop() {
    removeEventListener("online", this.#wake)
    document.removeEventListener("visibilitychange", this.#wake)
    this.#drop()
    this.#setStatus("closed")
  }

  // Opens another socket in place of this one, with the URL of now.
  restart() {
    if (this.#socket) this.#lose()
  }

  // Private

  #open() {
    this.#drop()
    this.#bye = undefined
    this.#setStatus("connecting")
    const socket = new WebSocket(this.url())
    this.#socket = socket
    socket.addEventListener("message", this.#receive)
    socket.addEventListener("close", this.#closed)
    this.#timer = setTimeout(() => this.#lose(), OPENING_TIMEOUT)
  }

  // A dead peer answers no closing handshake: what the old socket still says must not matter.
  #drop() {
    clearTimeout(this.#timer)
    this.#pausing?.abort()
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
    this.#timer = setTimeout(() => this.#open(), delay)
    this.#setStatus("offline")
  }

  #receive = ({ data }) => {
    this.#monitor.recordFrame()
    const frame = parse(data)
    if (!frame) return
    switch (frame.type) {
      case "register":
        clearTimeout(this.#timer)
        this.#monitor.start(frame.heartbeat ?? HEARTBEAT)
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
    if (code === CLOSE.evicted) return this.#pause()
    if (code === CLOSE.sessionChanged) {
      if (this.#sessionHasChanged) return this.stop()
      this.#sessionHasChanged = true
      return this.#lose(0)
    }
    const told = (this.#bye?.delay ?? 0) * 1000
    if (code === CLOSE.tooFast) {
      const delay = Math.max(told, TOO_FAST_DELAY) + this.#backoff()
      this.#lose(delay)
      this.#notBefore = performance.now() + delay
    } else {
      this.#lose(told + this.#backoff())
    }
  }

  // Newer connections of the account took this one's place: the next to be looked at, or
  // to be used where it is in view already, wins.
  #pause() {
    this.#drop()
    this.#pausing = new AbortController()
    const { signal } = this.#pausing
    addEventListener("focus", this.#wake, { signal })
    addEventListener("pointerdown", this.#wake, { capture: true, passive: true, signal })
    addEventListener("keydown", this.#wake, { capture: true, passive: true, signal })
    this.#setStatus("paused")
  }

  // Full jitter, so that the clients of a server that restarts do not all come back at once.
  #backoff() {
    const most = Math.min(BACKOFF_CAP, BACKOFF_BASE * 2 ** this.#attempts++)
    return Math.random() * most
  }

  #wake = () => {
    if (document.visibilityState === "hidden") return
    if (this.#socket) this.#monitor.probe()
    else if (performance.now() >= this.#notBefore) this.#open()
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

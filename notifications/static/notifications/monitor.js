// Judges whether a socket still lives, and shows the server that this end does.
//
// Timers of hidden tabs run as rarely as once a minute, message handlers do not wait:
// silence is therefore measured from the last frame, and a ping is answered where it arrives.

const PROBE_TIMEOUT = 5000 // ms

export class Monitor {
  #timer
  #probe
  #heardAt = 0

  constructor({ send, onStale, now = () => performance.now() }) {
    Object.assign(this, { send, onStale, now })
  }

  // interval and timeout in seconds, as `register` gives them
  start({ interval, timeout }) {
    this.stop()
    this.interval = interval * 1000
    this.timeout = timeout * 1000
    this.recordFrame()
    this.#timer = setInterval(this.#beat, this.interval)
  }

  stop() {
    clearInterval(this.#timer)
    clearTimeout(this.#probe)
    this.#timer = this.#probe = undefined
  }

  recordFrame() {
    this.#heardAt = this.now()
    clearTimeout(this.#probe)
    this.#probe = undefined
  }

  answerPing() {
    this.#sendHeartbeat()
  }

  // Asks at once, for a tab that comes back: the socket may have died while the computer slept.
  probe() {
    if (!this.#timer || this.#probe) return
    this.#sendHeartbeat()
    this.#probe = setTimeout(this.onStale, Math.min(PROBE_TIMEOUT, this.timeout))
  }

  // Private

  #beat = () => {
    if (this.now() - this.#heardAt > this.timeout) return this.onStale()
    this.#sendHeartbeat()
  }

  #sendHeartbeat() {
    this.send({ type: "heartbeat" })
  }
}

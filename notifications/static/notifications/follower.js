// @ts-check
const MAX_TAKEOVER_DELAY_MS = 2000 // at random, so that not all followers take over at once

// Keeps a tab in step with the leader, and takes over from a leader that hangs.
//
// A message has the position that the leader had before it. A tab behind that position has
// missed something, and catches up over HTTP before it continues.
export class Follower {
  timeout
  position
  catchUp
  onFrame
  onStatus
  ask
  takeOver

  #messages
  #consumer
  #status
  #heardAt = 0
  #takeoverTimer

  // timeout: in ms. Callbacks: position(); catchUp(receive), which passes on the changes since
  // the position, as frames; onFrame(frame); onStatus(status); ask(what), which asks the leader
  // to "check" or "restart" its connection; and takeOver().
  constructor({ timeout }, callbacks) {
    Object.assign(this, callbacks, { timeout })
  }

  start() {
    this.#messages = []
    this.#status = undefined
    this.#heardAt = performance.now()
    this.ask("check")
  }

  stop() {
    this.#messages = undefined
    clearTimeout(this.#takeoverTimer)
    this.#takeoverTimer = undefined
  }

  // message: {position, status}, with the `frame` if there is one
  hear(message) {
    this.#heardAt = performance.now()
    this.#messages.push(message)
    this.#consumer ??= this.#consume()
  }

  // Call it every few seconds.
  check() {
    if (this.#status !== "online" || this.#isSilentFor(this.timeout / 2)) this.ask("check")
    if (this.#isSilentFor(this.timeout)) {
      this.#takeoverTimer ??= setTimeout(this.#takeOver, Math.random() * MAX_TAKEOVER_DELAY_MS)
    }
  }

  // Private

  // One message after the other, because catching up takes time.
  async #consume() {
    while (this.#messages?.length) {
      try {
        await this.#take(this.#messages.shift())
      } catch (error) {
        reportError(error) // the next message may still succeed
      }
    }
    this.#consumer = undefined
  }

  async #take({ frame, position, status }) {
    const isUpToDate = this.#isUpTo(position) || (await this.#catchUp(position, frame))
    if (!this.#messages) return // stopped meanwhile
    if (isUpToDate && frame) this.onFrame(frame)
    this.#setStatus(isUpToDate ? status : "offline")
  }

  #isUpTo(position) {
    const own = this.position()
    if (!own || !position) return true
    const isComparable = own.epoch === position.epoch && own.scope === position.scope
    return isComparable && own.seq >= position.seq && own.broadcast_seq >= position.broadcast_seq
  }

  // Returns whether this tab has now reached the leader's position.
  async #catchUp(position, frame) {
    this.#setStatus("recovering")
    try {
      await this.catchUp(this.onFrame)
    } catch (error) {
      if (error.name !== "ApiError") throw error
      if (this.#messages) this.#messages = [] // the next one tries again
      return false
    }
    const isUpToDate = this.#isUpTo(position)
    // The leader connected before the database was restored, or with other audiences.
    if (!isUpToDate && frame?.type === "heartbeat") this.ask("restart")
    return isUpToDate
  }

  #setStatus(status) {
    this.#status = status
    this.onStatus(status)
  }

  #isSilentFor(ms) {
    return performance.now() - this.#heardAt > ms
  }

  #takeOver = () => {
    this.#takeoverTimer = undefined
    if (this.#isSilentFor(this.timeout)) this.takeOver()
  }
}

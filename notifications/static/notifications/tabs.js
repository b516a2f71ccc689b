// @ts-check
import { Connection } from "./connection.js";

const WATCH = 2000 // ms between two looks at the leader
const PATIENCE = 2000 // ms at most

// One connection for all tabs of an account in this browser. A lock elects the leader, who
// has the socket; it passes on every frame, with the cursor that it had before. Each tab
// has a cursor of its own: one that is behind that one has a hole, and catches up over HTTP.
// Without the browser's APIs each tab leads itself.
export class Tabs {
  status = "closed"
  isLeader = false
  name
  timeout
  cursor
  url
  catchUp
  onFrame
  onStatus
  onTold

  #channel
  #connection
  #release
  #request
  #watch
  #robbery
  #heardAt = 0
  #told = []
  #isHearing = false
  #listening
  #using

  // timeout: seconds. Callbacks: cursor(); url(); catchUp(receive), which passes on what
  // happened since the cursor, as frames; onFrame(frame); onStatus(status); and onTold(told),
  // what another tab has `tell`ed.
  constructor({ name, timeout }, callbacks) {
    Object.assign(this, callbacks, { name, timeout: timeout * 1000 })
    this.#connection = new Connection({
      url: this.url,
      poll: () => this.catchUp(this.#lead),
      onFrame: this.#lead,
      onStatus: this.#leadStatus
    })
  }

  start() {
    this.#listening = new AbortController()
    const { signal } = this.#listening
    addEventListener("online", this.#wake, { signal })
    document.addEventListener("visibilitychange", this.#wake, { signal })
    document.addEventListener("freeze", this.#freeze, { signal })
    document.addEventListener("resume", this.#resume, { signal })
    this.#enter()
  }

  // Leaves the others to themselves; `start` comes back.
  stop() {
    this.#listening?.abort()
    this.#leave()
    this.#setStatus("closed")
  }

  // The session is over, for all tabs.
  end() {
    this.#post({ status: "closed" })
    this.stop()
  }

  // Connects anew, in whichever tab that is.
  restart() {
    if (this.isLeader) this.#connection.restart()
    else this.#post({ ask: "restart" })
  }

  tell(told) {
    this.#post({ told })
  }

  // Private

  #enter() {
    if (this.#watch) return
    this.#watch = setInterval(this.#look, WATCH)
    this.#heardAt = performance.now()
    this.#setStatus("connecting")
    if (!navigator.locks || !globalThis.BroadcastChannel) return this.#begin()
    this.#channel = new BroadcastChannel(this.name)
    this.#channel.addEventListener("message", this.#hear)
    this.#apply()
    this.#post({ ask: "check" })
  }

  #leave() {
    clearInterval(this.#watch)
    clearTimeout(this.#robbery)
    this.#watch = this.#robbery = undefined
    this.#using?.abort()
    this.#told = []
    this.#request?.abort()
    this.#end()
    this.#channel?.close()
    this.#channel = undefined
  }

  // Applies for the lead, and has it until it leaves or is robbed.
  async #apply(steal = false) {
    const request = new AbortController()
    this.#request = request
    const options = steal ? { steal } : { signal: request.signal }
    const lead = () => request.signal.aborted || new Promise((release) => this.#begin(release))
    try {
      await navigator.locks.request(this.name, options, lead)
    } catch (error) {
      if (error.name !== "AbortError") throw error
      if (request.signal.aborted) return
      this.#end()
      this.#apply()
    }
  }

  #begin(release) {
    this.#release = release
    this.isLeader = true
    if (this.status !== "paused") this.#connection.start()
  }

  #end() {
    if (!this.isLeader) return
    this.isLeader = false
    this.#connection.stop()
    this.#release?.()
  }

  #post(message) {
    this.#channel?.postMessage(message)
  }

  // What the leader does

  #lead = (frame) => {
    this.#post({ frame, from: this.cursor(), status: this.status })
    this.onFrame(frame)
  }

  #leadStatus = (status) => {
    if (!this.isLeader) return
    if (status === "closed") return this.end()
    this.#post({ from: this.cursor(), status })
    this.#setStatus(status)
  }

  #answer(ask) {
    if (!this.isLeader) return
    this.#connection[ask]()
    this.#post({ from: this.cursor(), status: this.status })
  }

  // What the others do

  #hear = ({ data }) => {
    if (data.ask) return this.#answer(data.ask)
    if (data.told) return this.onTold(data.told)
    if (data.status === "closed") return this.stop()
    if (this.isLeader) return
    this.#heardAt = performance.now()
    this.#told.push(data)
    this.#listen()
  }

  async #listen() {
    if (this.#isHearing) return
    this.#isHearing = true
    while (this.#told.length) {
      const { frame, from, status } = this.#told.shift()
      const isWhole = this.#isWhole(from) || (await this.#mend(from, frame))
      if (isWhole && frame) this.onFrame(frame)
      if (this.#watch && !this.isLeader) this.#setStatus(isWhole ? status : "offline")
    }
    this.#isHearing = false
  }

  #isWhole(from) {
    const cursor = this.cursor()
    if (!cursor || !from) return true
    const isSame = from.epoch === cursor.epoch && from.scope === cursor.scope
    return isSame && cursor.seq >= from.seq && cursor.broadcast_seq >= from.broadcast_seq
  }

  // Whether this tab stands now where the leader's frame goes on.
  async #mend(from, frame) {
    this.#setStatus("recovering")
    try {
      await this.catchUp(this.onFrame)
    } catch (error) {
      if (error.name !== "ApiError") throw error
      this.#told = [] // the next one tries again
      return false
    }
    const isWhole = this.#isWhole(from)
    // The leader's socket is of before a restore, or of other audiences.
    if (!isWhole && frame?.type === "heartbeat") this.restart()
    return isWhole
  }

  // A leader that is silent though it was asked, and still after a pause, is robbed of the lock.
  #look = () => {
    if (this.isLeader) return this.#connection.check()
    const isSilent = (time) => performance.now() - this.#heardAt > time
    if (this.status !== "online" || isSilent(this.timeout / 2)) this.#post({ ask: "check" })
    if (!isSilent(this.timeout) || this.#robbery) return
    this.#robbery = setTimeout(() => {
      this.#robbery = undefined
      if (this.isLeader || !isSilent(this.timeout)) return
      this.#request.abort()
      this.#apply(true)
    }, Math.random() * PATIENCE)
  }

  // What the page does

  #wake = () => {
    if (document.hidden) return
    if (this.isLeader) this.#connection.wake()
    else this.#post({ ask: "wake" })
  }

  // Others must not wait for what does not run.
  #freeze = () => this.#leave()

  #resume = () => this.#enter()

  #setStatus(status) {
    if (status === this.status) return
    this.status = status
    this.#using?.abort()
    if (status === "paused") this.#awaitUse()
    this.onStatus(status)
  }

  // The next tab to be looked at, or to be used where it is in view already, goes on.
  #awaitUse() {
    this.#using = new AbortController()
    const { signal } = this.#using
    addEventListener("focus", this.#wake, { signal })
    addEventListener("pointerdown", this.#wake, { capture: true, passive: true, signal })
    addEventListener("keydown", this.#wake, { capture: true, passive: true, signal })
  }
}

// @ts-check
import { Connection } from "./connection.js";
import { Election } from "./election.js";
import { Follower } from "./follower.js";

const WATCH_INTERVAL_MS = 2000
// Raised when the messages between tabs change: after a deploy, tabs with the scripts of before
// have a leader of their own, and neither kind hears the other.
const MESSAGES_VERSION = 2

// What a tab holds in each state.
//
// stopped: it takes no part · frozen: nor does it, until the browser lets the page run again
// waiting: it follows the leader, and waits for the lock · leading: it has the lock and the connection
// alone: it has a connection of its own, in browsers without locks or channels
const HELD = {
  stopped: [],
  frozen: ["page"],
  waiting: ["page", "watch", "channel", "election", "follower"],
  leading: ["page", "watch", "channel", "election", "connection"],
  alone: ["page", "watch", "connection"]
}

// One connection for all of an account's tabs in this browser.
//
// The leader has the connection, and passes each frame on with the position that it had before.
// Each tab keeps a position of its own.
export class Tabs {
  status = "closed"
  name
  position
  url
  catchUp
  onFrame
  onStatus
  onAnnounced

  #state = "stopped"
  #parts
  #connection
  #election
  #follower
  #channel
  #watchTimer
  #pageEvents
  #useEvents

  // timeout: seconds. Callbacks: position(); url(); catchUp(receive), which passes on what happened
  // since the position, as frames; onFrame(frame); onStatus(status); and onAnnounced(keys), what
  // another tab has announced.
  constructor({ name, timeout }, callbacks) {
    Object.assign(this, callbacks, { name: `${name}:${MESSAGES_VERSION}` })
    this.#connection = new Connection({
      url: this.url,
      poll: () => this.catchUp(this.#passOn),
      onFrame: this.#passOn,
      onStatus: this.#lead
    })
    this.#election = new Election(this.name, {
      onElected: () => this.#enter("leading"),
      onDeposed: () => this.#enter("waiting")
    })
    this.#follower = new Follower(
      { timeout: timeout * 1000 },
      {
        position: this.position,
        catchUp: this.catchUp,
        onFrame: this.onFrame,
        onStatus: (status) => this.#setStatus(status),
        ask: (what) => this.#post({ type: what }),
        takeOver: () => this.#election.takeOver()
      }
    )
    this.#parts = {
      page: { start: () => this.#listenToPage(), stop: () => this.#pageEvents.abort() },
      watch: { start: () => this.#startWatch(), stop: () => clearInterval(this.#watchTimer) },
      channel: { start: () => this.#openChannel(), stop: () => this.#closeChannel() },
      election: this.#election,
      follower: this.#follower,
      connection: { start: () => this.#connect(), stop: () => this.#connection.stop() }
    }
  }

  get isLeader() {
    return this.#state === "leading" || this.#state === "alone"
  }

  start() {
    if (this.#state === "stopped") this.#begin()
  }

  // The other tabs go on without this one.
  stop(status = "closed") {
    this.#enter("stopped")
    this.#setStatus(status)
  }

  // For all tabs.
  end(status) {
    this.#post({ type: "end", status })
    this.stop(status)
  }

  // Connects anew, in whichever tab leads.
  restart() {
    if (this.isLeader) this.#connection.restart()
    else this.#post({ type: "restart" })
  }

  shareAnnounced(keys) {
    this.#post({ type: "announced", keys })
  }

  // Private

  #begin() {
    const canShare = navigator.locks && globalThis.BroadcastChannel
    this.#setStatus("connecting")
    this.#enter(canShare ? "waiting" : "alone")
  }

  #enter(state) {
    const before = HELD[this.#state]
    const after = HELD[state]
    this.#state = state
    for (const name of [...before].reverse()) if (!after.includes(name)) this.#parts[name].stop()
    for (const name of after) if (!before.includes(name)) this.#parts[name].start()
  }

  #setStatus(status) {
    if (status === this.status) return
    this.status = status
    this.#useEvents?.abort()
    if (status === "paused") this.#listenForUse()
    this.onStatus(status)
  }

  // The connection

  #connect() {
    if (this.status !== "paused") this.#connection.start()
  }

  #passOn = (frame) => {
    this.#post({ type: "frame", frame, position: this.position(), status: this.status })
    this.onFrame(frame)
  }

  #lead = (status) => {
    if (!this.isLeader) return
    if (status === "closed" || status === "logged_out") return this.end(status)
    this.#setStatus(status)
    this.#postStatus()
  }

  #postStatus() {
    this.#post({ type: "status", position: this.position(), status: this.status })
  }

  // The other tabs

  #openChannel() {
    this.#channel = new BroadcastChannel(this.name)
    this.#channel.addEventListener("message", this.#hear)
  }

  #closeChannel() {
    this.#channel.close()
    this.#channel = undefined
  }

  #post(message) {
    this.#channel?.postMessage(message)
  }

  #hear = ({ data: message }) => {
    switch (message.type) {
      case "check":
      case "wake":
      case "restart":
        if (this.isLeader) this.#answer(message.type)
        break
      case "frame":
      case "status":
        if (!this.isLeader) this.#follower.hear(message)
        break
      case "announced":
        this.onAnnounced(message.keys)
        break
      case "end":
        this.stop(message.status)
        break
    }
  }

  #answer(what) {
    this.#connection[what]()
    this.#postStatus()
  }

  // The clock

  #startWatch() {
    this.#watchTimer = setInterval(this.#watch, WATCH_INTERVAL_MS)
  }

  #watch = () => {
    if (this.isLeader) this.#connection.check()
    else this.#follower.check()
  }

  // The page

  #listenToPage() {
    this.#pageEvents = new AbortController()
    const { signal } = this.#pageEvents
    addEventListener("online", this.#wake, { signal })
    document.addEventListener("visibilitychange", this.#wake, { signal })
    // The others must not wait for what does not run.
    document.addEventListener("freeze", () => this.#enter("frozen"), { signal })
    document.addEventListener("resume", () => this.#thaw(), { signal })
  }

  #thaw() {
    if (this.#state === "frozen") this.#begin()
  }

  #wake = () => {
    if (document.hidden) return
    if (this.isLeader) this.#connection.wake()
    else this.#post({ type: "wake" })
  }

  // A paused connection goes on in the next tab that is looked at, or used where it is in view.
  #listenForUse() {
    this.#useEvents = new AbortController()
    const { signal } = this.#useEvents
    addEventListener("focus", this.#wake, { signal })
    addEventListener("pointerdown", this.#wake, { capture: true, passive: true, signal })
    addEventListener("keydown", this.#wake, { capture: true, passive: true, signal })
  }
}

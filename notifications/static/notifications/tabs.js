// @ts-check
import { Connection } from "./connection.js";
import { Follower } from "./follower.js";

const WATCH_INTERVAL_MS = 2000
// Raise it when the messages between tabs change. During a deploy, tabs with the older scripts
// then have a leader of their own, and neither kind hears the other.
const MESSAGES_VERSION = 2

// The states of a tab, and what it holds in each of them:
//
// - stopped: takes no part
// - frozen: takes no part until the browser lets the page run again
// - waiting: follows the leader, and waits for the lock
// - leading: has the lock and the connection
// - alone: has a connection of its own, where locks or channels are missing or fail
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

  // timeout: seconds. Callbacks: position(); url(); catchUp(receive), which passes on the changes
  // since the position, as frames; onFrame(frame); onStatus(status); and onAnnounced(keys), with
  // the keys that another tab has announced.
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
      onDeposed: () => this.#enter("waiting"),
      onFailed: this.#separate
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
      watch: {
        start: () => (this.#watchTimer = setInterval(this.#watch, WATCH_INTERVAL_MS)),
        stop: () => clearInterval(this.#watchTimer)
      },
      channel: { start: () => this.#openChannel(), stop: () => this.#channel?.close() },
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

  // Ends the connection for all tabs.
  end(status) {
    this.#post({ type: "end", status })
    this.stop(status)
  }

  // Reconnects, in whichever tab leads.
  restart() {
    if (this.isLeader) this.#connection.restart()
    else this.#post({ type: "restart" })
  }

  shareAnnounced(keys) {
    this.#post({ type: "announced", keys })
  }

  // Private

  #begin() {
    this.#setStatus("connecting")
    this.#share(() => this.#enter("waiting"))
  }

  // Does what needs the other tabs; if the browser refuses, this tab goes on without them.
  #share(action) {
    try {
      action()
    } catch {
      this.#separate()
    }
  }

  #separate = () => {
    if (HELD[this.#state].includes("election")) this.#enter("alone")
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

  #post(message) {
    if (HELD[this.#state].includes("channel")) this.#share(() => this.#channel.postMessage(message))
  }

  #hear = ({ data: message }) => {
    switch (message.type) {
      case "check":
      case "wake":
      case "restart":
        if (!this.isLeader) break
        this.#connection[message.type]()
        this.#postStatus()
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
    // A frozen leader would keep the others waiting.
    document.addEventListener("freeze", () => this.#enter("frozen"), { signal })
    document.addEventListener("resume", this.#thaw, { signal })
  }

  #thaw = () => {
    if (this.#state === "frozen") this.#begin()
  }

  #wake = () => {
    if (document.hidden) return
    if (this.isLeader) this.#connection.wake()
    else this.#post({ type: "wake" })
  }

  // A paused connection resumes when a tab is looked at or used.
  #listenForUse() {
    this.#useEvents = new AbortController()
    const { signal } = this.#useEvents
    addEventListener("focus", this.#wake, { signal })
    addEventListener("pointerdown", this.#wake, { capture: true, passive: true, signal })
    addEventListener("keydown", this.#wake, { capture: true, passive: true, signal })
  }
}

// Elects one of the tabs that share a name: the one that holds the lock of that name.
class Election {
  name
  onElected
  onDeposed
  onFailed

  #candidacy

  // Callbacks: onElected(); onDeposed() when another tab took over, and this tab is a candidate
  // again; and onFailed() where the browser has no locks for this page.
  constructor(name, callbacks) {
    Object.assign(this, callbacks, { name })
  }

  start() {
    this.#stand()
  }

  stop() {
    this.#candidacy?.abort()
  }

  // Takes the lock away from a tab that hangs.
  takeOver() {
    this.stop()
    this.#stand(true)
  }

  // Private

  async #stand(steal = false) {
    this.#candidacy = new AbortController()
    const { signal } = this.#candidacy
    let wasElected = false
    const hold = () =>
      new Promise((release) => {
        if (signal.aborted) return release(undefined)
        wasElected = true
        signal.addEventListener("abort", release)
        this.onElected()
      })
    try {
      await navigator.locks.request(this.name, steal ? { steal } : { signal }, hold)
    } catch (error) {
      if (signal.aborted) return
      if (!wasElected) return this.onFailed()
      if (error.name !== "AbortError") throw error
      this.#stand()
      this.onDeposed()
    }
  }
}

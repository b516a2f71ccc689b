import { Api } from "./api.js";
import { Connection } from "./connection.js";
import { applyFrame, applyMark, applyPage, cursorOf, initialState, isNew, isOld, isOvertaken, isUnread, itemsIn, unreadTotal } from "./store.js";
import { recallVisit, rememberVisit } from "./visits.js";

const PROTOCOL_TYPES = ["register", "heartbeat", "ping", "state", "resync", "error", "bye"]
const OWN_EVENTS = ["notification", "announce", "change", "status", "unread"]
const ANNOUNCED_FOR = 30_000 // ms; what nobody reported as off show does not count for longer
const INSTANCE = Symbol.for("notifications.client")

// The page's one client, connected; null on a page without the configuration
// that `{% notifications_bell %}` renders, that is, when nobody is logged in.
export function connect() {
  if (!globalThis[INSTANCE]) {
    const config = document.getElementById("notifications-config")
    if (!config) return null
    globalThis[INSTANCE] = new NotificationsClient(JSON.parse(config.textContent))
    globalThis[INSTANCE].start()
  }
  return globalThis[INSTANCE]
}

// Events, with the frame or the value as `detail`:
//   notification, and the notification's own type: something new, stored or not;
//     preventDefault() of `notification` keeps it from being announced as a toast
//   announce: [{notification, since}], oldest first; since when (ms since the epoch), which is
//     earlier than now for what was still on show on the page before
//   state: items were marked, or withdrawn, by this account on any device
//   unread: {total, unread, unread_broadcasts}
//   status: "connecting", "recovering", "online", "offline", "paused", "closed"
//   change: anything that the lists show
export class NotificationsClient extends EventTarget {
  #state
  #api
  #connection
  #visit
  #origin
  #missed = []
  #announced = new Map()
  #loading = new Map()

  constructor(config) {
    super()
    this.config = config
    this.#visit = this.#recallVisit()
    this.#state = initialState({ ...config, resumeFrom: this.#visit?.resumeFrom })
    this.#api = new Api(config)
    this.#connection = new Connection({
      url: () => this.#socketUrl(),
      onFrame: this.#receive,
      onStatus: this.#changeStatus
    })
  }

  start() {
    addEventListener("pagehide", this.#leave)
    addEventListener("pageshow", this.#return)
    this.#connection.start()
  }

  stop() {
    removeEventListener("pagehide", this.#leave)
    removeEventListener("pageshow", this.#return)
    this.#connection.stop()
  }

  get status() {
    return this.#connection.status
  }

  get unread() {
    return {
      total: unreadTotal(this.#state),
      unread: this.#state.unread,
      unread_broadcasts: this.#state.unreadBroadcasts
    }
  }

  // The loaded items of a view ("inbox" or "unread"), newest first.
  items(view = "inbox") {
    return itemsIn(this.#state, view)
  }

  isUnread(id) {
    return isUnread(this.#state, id)
  }

  isLoaded(view = "inbox") {
    return this.#state.views[view].isLoaded
  }

  hasOlder(view = "inbox") {
    return this.#state.views[view].next !== null
  }

  // Loads the newest items of a view, unless they are there.
  async load(view = "inbox") {
    if (!this.isLoaded(view)) await this.#loadPage(view)
  }

  async loadOlder(view = "inbox") {
    if (this.hasOlder(view)) await this.#loadPage(view, this.#state.views[view].next)
  }

  // as: "read", "unread", "archived" or "inbox"
  async mark(ids, as) {
    await this.#applyMark(this.#api.mark(ids, as))
  }

  // as: "read" or "archived". Only what this page has been told of: the rest was never seen.
  async markAll(as) {
    const cursor = cursorOf(this.#state)
    if (cursor) await this.#applyMark(this.#api.markAll(cursor, as))
  }

  // Who shows what is announced tells when it is off: until then, it comes along
  // when the tab goes to another page.
  recordHidden(notification) {
    this.#announced.delete(notification.id)
  }

  // Private

  #socketUrl() {
    const url = new URL(this.config.urls.socket, location.href)
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:"
    for (const [name, value] of Object.entries(cursorOf(this.#state) ?? {})) url.searchParams.set(name, value)
    return url
  }

  #receive = (frame) => {
    if (frame.type === "register" || frame.type === "resync") this.#origin = frame
    const before = this.#state
    const isNews = isNew(before, frame)
    this.#update(applyFrame(before, frame))
    if (frame.type === "state") {
      if (!isOld(before, frame)) this.#emit("state", frame)
    } else if (!PROTOCOL_TYPES.includes(frame.type)) {
      if (isNews || frame.id === undefined) this.#notify(frame)
    }
    if (this.#state.isOutdated && !this.#loading.has("inbox")) this.#reload()
  }

  #notify(notification) {
    const { wasSeen, shownSince } = this.#lookUpVisit(notification)
    const isWanted = wasSeen ? Boolean(shownSince) : this.#tell(notification)
    if (!isWanted || !this.#isPending(notification)) return
    const announcement = { notification, since: shownSince ?? Date.now() }
    if (notification.id !== undefined) this.#remember(announcement)
    if (this.status === "recovering") this.#missed.push(announcement)
    else this.#emit("announce", [announcement])
  }

  #tell(notification) {
    const isWanted = this.#emit("notification", notification, { cancelable: true })
    if (!OWN_EVENTS.includes(notification.type)) this.#emit(notification.type, notification)
    return isWanted
  }

  #remember(announcement) {
    for (const [id, { since }] of this.#announced) {
      if (Date.now() - since < ANNOUNCED_FOR) break
      this.#announced.delete(id)
    }
    this.#announced.set(announcement.notification.id, announcement)
  }

  // One without an id is stored nowhere, and so can't have been read.
  #isPending({ id }) {
    return id === undefined || this.isUnread(id)
  }

  #changeStatus = (status) => {
    if (status === "online") this.#announceMissed()
    this.#emit("status", status)
  }

  // What came while it was away and is still unread: told together, when the count is known too.
  #announceMissed() {
    const missed = this.#missed.filter(({ notification }) => this.#isPending(notification))
    this.#missed = []
    if (missed.length) this.#emit("announce", missed)
  }

  #update(state) {
    const before = this.#state
    if (state === before) return
    this.#state = state
    if (state.unread !== before.unread || state.unreadBroadcasts !== before.unreadBroadcasts) {
      this.#emit("unread", this.unread)
    }
    if (state.items !== before.items || state.views !== before.views) this.#emit("change")
  }

  #emit(type, detail, options) {
    return this.dispatchEvent(new CustomEvent(type, { detail, ...options }))
  }

  // Loading

  async #reload() {
    try {
      await this.#loadPage("inbox")
    } catch (error) {
      // The next heartbeat tries again.
      if (error.name !== "ApiError") throw error
    }
  }

  // One request per view at a time; who asks meanwhile waits for the same.
  #loadPage(view, before) {
    if (!this.#loading.has(view)) {
      const loading = this.#fetchPage(view, before).finally(() => this.#loading.delete(view))
      this.#loading.set(view, loading)
    }
    return this.#loading.get(view)
  }

  async #fetchPage(view, before) {
    const { generation } = this.#state
    const page = await this.#ask(this.#api.items({ before, unread: view === "unread" }))
    // A resync came meanwhile: this page may be of before it.
    if (generation !== this.#state.generation || isOvertaken(this.#state, page)) return this.#fetchPage(view)
    const loaded = Object.keys(this.#state.views).filter((name) => this.isLoaded(name))
    this.#update(applyPage(this.#state, page, view))
    const { epoch, scope } = this.#origin ?? page
    if (page.epoch !== epoch || page.scope !== scope) this.#connection.restart()
    await Promise.all(loaded.filter((name) => name !== view).map((name) => this.load(name)))
  }

  // The state as it is when the answer is there: frames go on coming meanwhile.
  async #applyMark(answer) {
    const marked = await this.#ask(answer)
    this.#update(applyMark(this.#state, marked))
  }

  async #ask(answer) {
    try {
      return await answer
    } catch (error) {
      if (error.status === 401) this.stop()
      throw error
    }
  }

  // Going from page to page

  #leave = () => {
    const cursor = cursorOf(this.#state)
    if (cursor) {
      const shown = this.#stillAnnounced()
      rememberVisit(this.config.account, {
        resumeFrom: { ...cursor, seq: before("seq"), broadcast_seq: before("broadcast_seq") },
        seen: cursor,
        shown: Object.fromEntries(shown.map(({ notification, since }) => [notification.id, since]))
      })

      // So far back that what is still on show will be told again.
      function before(name) {
        const numbers = shown.map(({ notification }) => notification[name]).filter(Number.isFinite)
        return Math.min(cursor[name], ...numbers.map((number) => number - 1))
      }
    }
    this.#connection.stop()
  }

  #stillAnnounced() {
    return [...this.#announced.values()].filter(
      ({ notification, since }) => this.isUnread(notification.id) && Date.now() - since < ANNOUNCED_FOR
    )
  }

  #return = ({ persisted }) => {
    if (persisted) this.#connection.start()
  }

  #recallVisit() {
    const { account, cursor } = this.config
    const visit = recallVisit(account)
    if (!visit || visit.seen.epoch !== cursor.epoch || visit.seen.scope !== cursor.scope) return null
    return visit
  }

  // What the previous page was told of is announced again only if it still stood there.
  #lookUpVisit({ id, seq, broadcast_seq }) {
    if (!this.#visit || id === undefined) return {}
    const { seen, shown } = this.#visit
    return { wasSeen: seq <= seen.seq || broadcast_seq <= seen.broadcast_seq, shownSince: shown[id] }
  }
}

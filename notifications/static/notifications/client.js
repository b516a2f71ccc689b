import { Announcer } from "./announcer.js";
import { Api, ApiError, withParams } from "./api.js";
import * as store from "./store.js";
import { Tabs } from "./tabs.js";

const PROTOCOL_TYPES = ["register", "heartbeat", "ping", "state", "resync", "error", "bye"]
const OWN_EVENTS = ["notification", "announce", "change", "status", "unread"]
const INSTANCE = Symbol.for("notifications.client")

// The page's one client, connected; null on a page without the configuration
// that the template tags render, that is, when nobody is logged in.
export function connect() {
  const config = document.getElementById("notifications-config")
  if (config && !globalThis[INSTANCE]) {
    globalThis[INSTANCE] = new NotificationsClient(JSON.parse(config.textContent))
    globalThis[INSTANCE].start()
  }
  return globalThis[INSTANCE] ?? null
}

// docs/client.md describes the events and what may be called; client.d.ts has the types.
export class NotificationsClient extends EventTarget {
  #state
  #api
  #tabs
  #announcer
  #origin
  #lists
  #loading = new Map()

  constructor(config) {
    super()
    this.config = config
    const cursor = () => store.cursorOf(this.#state)
    this.#announcer = new Announcer(config, {
      isUnread: (id) => this.isUnread(id),
      isLeader: () => this.#tabs.isLeader,
      announce: (announced) => this.#emit("announce", announced),
      tell: (keys) => this.#tabs.tell(keys)
    })
    this.#state = store.initialState({ ...config, resumeFrom: this.#announcer.resumeFrom })
    this.#api = new Api(config)
    const name = `notifications:${config.account}:${config.protocol}`
    this.#tabs = new Tabs(
      { name, ...config.heartbeat },
      {
        cursor,
        url: () => this.#socketUrl(),
        catchUp: (receive) => this.#ask(this.#api.catchUp(cursor, receive)),
        onFrame: this.#receive,
        onStatus: this.#changeStatus,
        onTold: (keys) => this.#announcer.hearAnnounced(keys)
      }
    )
  }

  start() {
    addEventListener("pagehide", this.#leave)
    addEventListener("pageshow", this.#return)
    this.#tabs.start()
  }

  stop() {
    removeEventListener("pagehide", this.#leave)
    removeEventListener("pageshow", this.#return)
    this.#tabs.stop()
  }

  get status() {
    return this.#tabs.status
  }

  get unread() {
    return store.countsOf(this.#state)
  }

  now() {
    return this.#api.now()
  }

  items(view = "inbox") {
    return this.isLoaded(view) ? this.#lists.itemsIn(this.#state, view) : []
  }

  isUnread(id) {
    return store.isUnread(this.#state, id)
  }

  isLoaded(view = "inbox") {
    return view in this.#state.views
  }

  hasOlder(view = "inbox") {
    return Boolean(this.#state.views[view]?.next)
  }

  async load(view = "inbox") {
    if (!this.isLoaded(view)) await this.#loadPage(view)
  }

  async loadOlder(view = "inbox") {
    if (this.hasOlder(view)) await this.#loadPage(view, this.#state.views[view].next)
  }

  mark(ids, as) {
    return this.#mark({ ids, as })
  }

  // Only what this page has been told of: the rest was never seen.
  markAll(as) {
    const { seq, broadcast_seq } = store.cursorOf(this.#state) ?? { seq: 0, broadcast_seq: 0 }
    return this.#mark({ upto: { seq, broadcast_seq }, as })
  }

  async undo(range) {
    const answer = await this.#ask(this.#api.mark({ undo: range }))
    this.#update(store.applyMark(this.#state, answer))
    return answer
  }

  recordHidden(notification) {
    this.#announcer.recordHidden(notification)
  }

  // Private

  #socketUrl() {
    const { account, urls } = this.config
    const url = withParams(urls.socket, { ...store.cursorOf(this.#state), account })
    url.protocol = url.protocol.replace("http", "ws")
    return url
  }

  #receive = (frame) => {
    if (frame.type === "register" || frame.type === "resync") this.#origin = frame
    const before = this.#state
    const isNews = store.isNew(before, frame)
    this.#update(store.applyFrame(before, frame))
    if (frame.type === "state") {
      if (!store.isOld(before, frame)) this.#emit("state", frame)
    } else if (!PROTOCOL_TYPES.includes(frame.type)) {
      if (isNews || frame.id === undefined) this.#notify(frame)
    }
    if (this.#state.isOutdated && !this.#loading.has("inbox")) this.#reload()
  }

  #notify(notification) {
    const { wasSeen, since } = this.#announcer.lookUp(notification)
    if (wasSeen ? since : this.#tell(notification)) {
      this.#announcer.add(notification, since, this.status === "recovering")
    }
  }

  #tell(notification) {
    const isWanted = this.#emit("notification", notification, { cancelable: true })
    if (!OWN_EVENTS.includes(notification.type)) this.#emit(notification.type, notification)
    return isWanted
  }

  #changeStatus = (status) => {
    if (status === "online") this.#announcer.announceMissed()
    this.#emit("status", status)
  }

  #update(state) {
    const before = this.#state
    if (state === before) return
    const counted = JSON.stringify(this.unread)
    this.#state = state
    if (JSON.stringify(this.unread) !== counted) this.#emit("unread", this.unread)
    if (["items", "views", "marks"].some((part) => state[part] !== before[part])) this.#emit("change")
  }

  #emit(type, detail, options) {
    return this.dispatchEvent(new CustomEvent(type, { detail, ...options }))
  }

  // Asking the server

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
    const [page, lists] = await Promise.all([this.#ask(this.#api.items({ before, view })), importLists()])
    this.#lists = lists
    // A resync came meanwhile: this page may be of before it.
    if (generation !== this.#state.generation || lists.isOvertaken(this.#state, page)) return this.#fetchPage(view)
    const loaded = Object.keys(this.#state.views)
    this.#update(lists.applyPage(this.#state, page, view))
    const { epoch, scope } = this.#origin ?? page
    if (page.epoch !== epoch || page.scope !== scope) this.#tabs.restart()
    await Promise.all(loaded.filter((name) => name !== view).map((name) => this.load(name)))
  }

  // Done at once, and taken back if the server does not.
  async #mark(mark) {
    this.#update(store.beginMark(this.#state, mark))
    try {
      const answer = await this.#ask(this.#api.mark(mark))
      this.#update(store.applyMark(this.#state, answer, mark))
      return answer
    } catch (error) {
      this.#update(store.endMark(this.#state, mark))
      throw error
    }
  }

  async #ask(answer) {
    try {
      return await answer
    } catch (error) {
      if (error.status === 401) this.#tabs.end()
      throw error
    }
  }

  // Going from page to page

  #leave = () => {
    const cursor = store.cursorOf(this.#state)
    if (cursor) this.#announcer.remember(cursor)
    this.#tabs.stop()
  }

  #return = ({ persisted }) => {
    if (persisted) this.#tabs.start()
  }
}

// Not every page shows a list.
async function importLists() {
  try {
    return await import("./pages.js")
  } catch {
    throw new ApiError(0)
  }
}

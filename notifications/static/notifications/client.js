// @ts-check
import { Announcer } from "./announcer.js";
import * as http from "./api.js";
import * as store from "./store.js";
import { Tabs } from "./tabs.js";

const PROTOCOL_TYPES = ["register", "heartbeat", "ping", "state", "resync", "error", "bye"]
const OWN_EVENTS = ["notification", "announce", "change", "status", "unread"]
const INSTANCE = Symbol.for("notifications.client")

/**
 * The page's one client, connected; null where nobody is logged in.
 *
 * That is a page without the configuration that the template tags render.
 *
 * @returns {NotificationsClient | null}
 */
export function connect() {
  const config = document.getElementById("notifications-config")
  if (config && !globalThis[INSTANCE]) {
    globalThis[INSTANCE] = new NotificationsClient(JSON.parse(config.textContent))
    globalThis[INSTANCE].start()
  }
  return globalThis[INSTANCE] ?? null
}

// docs/client.md describes the events and what may be called; client.d.ts is generated from this.
export class NotificationsClient extends /** @type {new () => NotificationsEventTarget} */ (EventTarget) {
  #state
  #api
  #tabs
  #announcer
  #origin
  #lists
  #loading = new Map()

  /** @param {Config} config */
  constructor(config) {
    super()
    /** @readonly */
    this.config = config
    const cursor = () => store.cursorOf(this.#state)
    this.#announcer = new Announcer(config, {
      isUnread: (id) => this.isUnread(id),
      isLeader: () => this.#tabs.isLeader,
      announce: (announced) => this.#emit("announce", announced),
      tell: (keys) => this.#tabs.tell(keys)
    })
    this.#state = store.initialState({ ...config, resumeFrom: this.#announcer.resumeFrom })
    this.#api = new http.Api(config)
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

  /** Connects; `connect()` has done it. */
  start() {
    addEventListener("pagehide", this.#leave)
    addEventListener("pageshow", this.#return)
    this.#tabs.start()
  }

  /** Takes this tab out; the account's other tabs go on. */
  stop() {
    removeEventListener("pagehide", this.#leave)
    removeEventListener("pageshow", this.#return)
    this.#tabs.stop()
  }

  /** @returns {Status} */
  get status() {
    return /** @type {Status} */ (this.#tabs.status)
  }

  /**
   * The server's counts, with the marks on their way.
   *
   * @returns {Counts & { total: number }}
   */
  get unread() {
    return store.countsOf(this.#state)
  }

  /** Milliseconds since the epoch by the server's clock, as far as it is known. */
  now() {
    return this.#api.now()
  }

  /**
   * What is loaded, newest first.
   *
   * @param {View} view
   * @returns {Item[]}
   */
  items(view = "inbox") {
    return this.isLoaded(view) ? this.#lists.itemsIn(this.#state, view) : []
  }

  /** @param {string} id */
  isUnread(id) {
    return store.isUnread(this.#state, id)
  }

  /** @param {View} view */
  isLoaded(view = "inbox") {
    return view in this.#state.views
  }

  /** @param {View} view */
  hasOlder(view = "inbox") {
    return Boolean(this.#state.views[view]?.next)
  }

  /**
   * Loads the newest 30, unless they are here.
   *
   * @param {View} view
   */
  async load(view = "inbox") {
    if (!this.isLoaded(view)) await this.#loadPage(view)
  }

  /**
   * Loads the next 30.
   *
   * @param {View} view
   */
  async loadOlder(view = "inbox") {
    if (this.hasOlder(view)) await this.#loadPage(view, this.#state.views[view].next)
  }

  /**
   * Done in this tab at once; taken back, and rejected, if the server does not.
   *
   * @param {string[]} ids
   * @param {Mark} as
   * @returns {Promise<MarkAnswer>}
   */
  mark(ids, as) {
    return this.#mark({ ids, as })
  }

  /**
   * Everything that this page has been told of: the rest was never seen.
   *
   * @param {"read" | "archived"} as
   * @returns {Promise<MarkAnswer>}
   */
  markAll(as) {
    const { seq, broadcast_seq } = store.cursorOf(this.#state) ?? { seq: 0, broadcast_seq: 0 }
    return this.#mark({ upto: { seq, broadcast_seq }, as })
  }

  /**
   * Reverses a mark for all that nobody has changed since.
   *
   * @param {Range} range
   * @returns {Promise<MarkAnswer>}
   */
  async undo(range) {
    const answer = await this.#ask(this.#api.mark({ undo: range }))
    this.#update(store.applyMark(this.#state, answer))
    return answer
  }

  /**
   * Says that what was announced is on show no more: it does not come along to the next page.
   *
   * @param {Pick<Notification, "id">} notification
   */
  recordHidden(notification) {
    this.#announcer.recordHidden(notification)
  }

  // Private

  #socketUrl() {
    const { account, urls } = this.config
    const url = http.withParams(urls.socket, { ...store.cursorOf(this.#state), account })
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
    const loaded = /** @type {View[]} */ (Object.keys(this.#state.views))
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
    throw new http.ApiError(0)
  }
}

// Types

/**
 * `connecting`, `recovering` (being told what was missed), `online`; `offline` (tried again by
 * itself), `polling` (sockets do not get through, it is looked over HTTP), `paused` (until a tab
 * is used: the account has too many newer ones) and `closed` (nobody is logged in any more).
 *
 * @typedef {"connecting" | "recovering" | "online" | "offline" | "polling" | "paused" | "closed"} Status
 */

/**
 * `important`: unread broadcasts of the levels `warning` and `error`.
 *
 * @typedef {"inbox" | "unread" | "archived" | "important"} View
 */

/** @typedef {"read" | "unread" | "archived" | "inbox"} Mark */

/** @typedef {"info" | "success" | "warning" | "error"} Level */

/**
 * A frame of the protocol: what `notify_accounts()` or `broadcast()` sent.
 *
 * @template [MetaData=unknown]
 * @typedef {object} Notification
 * @property {string} type
 * @property {{ body: string, meta_data: MetaData }} content
 * @property {string} [id] Without one it is stored nowhere, and has none of what follows.
 * @property {number} [number]
 * @property {"unread" | "read" | "archived"} [state]
 * @property {Level} [level]
 * @property {string} [url]
 * @property {string} [created_at] ISO 8601, by the server's clock
 * @property {string | null} [expires_at]
 * @property {string | null} [replaces] The id of the one whose place it takes.
 * @property {number} [seq] The number of its last change; a broadcast has `broadcast_seq` instead.
 * @property {number} [broadcast_seq]
 */

/**
 * An item of a list; `state` is what it will be once the marks on their way have arrived.
 *
 * @template [MetaData=unknown]
 * @typedef {Notification<MetaData> &
 *   Required<Pick<Notification, "id" | "number" | "state" | "level" | "url" | "created_at">>} Item
 */

/**
 * @typedef {object} Announcement
 * @property {Notification} notification
 * @property {number} since Since when it has been on show, in ms since the epoch by this computer's clock.
 */

/**
 * Items were changed, or withdrawn (`gone`), on whichever device.
 *
 * @typedef {object} StateChange
 * @property {"state"} type
 * @property {"unread" | "read" | "archived" | "gone"} as
 * @property {string[]} [ids]
 * @property {{ from: number, seq: number, upto: { seq: number, broadcast_seq: number } }} [range]
 */

/**
 * @typedef {object} Counts
 * @property {number} unread
 * @property {number} unread_broadcasts
 */

/**
 * The numbers that one mark gave to what it changed; what `undo()` takes.
 *
 * @typedef {object} Range
 * @property {Mark} as
 * @property {number} from The first of them.
 * @property {number} seq The last of them.
 */

/**
 * @typedef {object} MarkChanges
 * @property {Range | null} range null: there was nothing to change
 * @property {string[]} ids
 */

/** @typedef {Counts & MarkChanges} MarkAnswer */

/**
 * What the page's template tag renders.
 *
 * @typedef {object} PageConfig
 * @property {string} account
 * @property {number} protocol
 * @property {string} csrf_token
 * @property {{ seq: number, broadcast_seq: number, epoch: number, scope: string }} cursor
 * @property {{ changes: string, inbox: string, items: string, mark: string, socket: string }} urls
 * @property {{ interval: number, timeout: number }} heartbeat in seconds
 * @property {string} [sound] address of a sound; "": none
 */

/** @typedef {PageConfig & Partial<Counts>} Config */

/**
 * @typedef {object} NotificationsEventMap
 * @property {CustomEvent<Notification>} notification Something new; `preventDefault()` keeps it from being announced.
 * @property {CustomEvent<Announcement[]>} announce
 *   To be shown in this tab, oldest first: read by nobody, and not announced in this tab before.
 * @property {CustomEvent<StateChange>} state
 * @property {CustomEvent<Counts & { total: number }>} unread
 * @property {CustomEvent<Status>} status
 * @property {CustomEvent<null>} change `items()` are others than before.
 */

/**
 * Any other type of event is a notification's own.
 *
 * @typedef {Omit<EventTarget, "addEventListener" | "removeEventListener"> & {
 *   addEventListener<Type extends keyof NotificationsEventMap>(
 *     type: Type,
 *     listener: (event: NotificationsEventMap[Type]) => void,
 *     options?: boolean | AddEventListenerOptions
 *   ): void
 *   addEventListener(
 *     type: string,
 *     listener: (event: CustomEvent<Notification>) => void,
 *     options?: boolean | AddEventListenerOptions
 *   ): void
 *   removeEventListener(
 *     type: string,
 *     listener: ((event: CustomEvent<any>) => void) | EventListenerOrEventListenerObject | null,
 *     options?: boolean | EventListenerOptions
 *   ): void
 * }} NotificationsEventTarget
 */

/**
 * Its requests reject with an error of this shape.
 *
 * @typedef {object} ApiErrorParts
 * @property {"ApiError"} name
 * @property {number} status of HTTP; 0: no answer came, or none of the site's own. 401: nobody is logged in.
 */

/** @typedef {Error & ApiErrorParts} ApiError */

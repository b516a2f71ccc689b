// @ts-check
import { Announcer } from "./announcer.js";
import * as http from "./api.js";
import { MarkQueue } from "./marks.js";
import { onSwap, readConfig } from "./page.js";
import * as store from "./store.js";
import { Tabs } from "./tabs.js";

const PROTOCOL_TYPES = ["register", "heartbeat", "ping", "state", "resync", "error", "bye"]
const OWN_EVENTS = ["notification", "announce", "change", "status", "unread"]
const INSTANCE = Symbol.for("notifications.client")

/**
 * The page's one client, connected; null where nobody is logged in.
 *
 * That is a page without the configuration that the template tags render. The client of an
 * account lasts while pages of that account are swapped in (by Turbo, htmx, …); one of another
 * account has another client, and the former one has ended.
 *
 * @returns {NotificationsClient | null}
 */
export function connect() {
  onSwap(connect)
  /** @type {Config | null} */
  const config = readConfig()
  /** @type {NotificationsClient | null} */
  const client = globalThis[INSTANCE] ?? null
  if (config && client?.config.account === config.account) {
    client.adopt(config)
  } else if (config || client) {
    globalThis[INSTANCE] = config && new NotificationsClient(config)
    client?.end()
    globalThis[INSTANCE]?.start()
  }
  return globalThis[INSTANCE] ?? null
}

// docs/client.md describes the events and methods; client.d.ts is generated from this file.
export class NotificationsClient extends /** @type {new () => NotificationsEventTarget} */ (EventTarget) {
  #state
  #api
  #tabs
  #announcer
  #marks
  #origin
  #lists
  #loading = new Map()
  #isConfirmed = false
  #hasFailed = false

  /** @param {Config} config */
  constructor(config) {
    super()
    const start = { ...config, position: config.cursor }
    const position = () => store.positionOf(this.#state)
    this.#announcer = new Announcer(start, {
      isUnread: (id) => this.isUnread(id),
      isLeader: () => this.#tabs.isLeader,
      announce: (announcements) => this.#emit("announce", announcements),
      share: (keys) => this.#tabs.shareAnnounced(keys)
    })
    this.#state = store.initialState({ ...start, resumeFrom: this.#announcer.resumeFrom })
    this.#api = new http.Api(config)
    this.#marks = new MarkQueue((mark) => this.#request(this.#api.mark(mark)))
    const name = `notifications:${config.account}:${config.protocol}`
    this.#tabs = new Tabs(
      { name, ...config.heartbeat },
      {
        position,
        url: () => this.#socketUrl(),
        catchUp: (receive) => this.#request(this.#api.catchUp(position, receive)),
        onFrame: this.#receive,
        onStatus: this.#changeStatus,
        onAnnounced: (keys) => this.#announcer.recordElsewhere(keys)
      }
    )
  }

  /** Connects. `connect()` has done so already. */
  start() {
    addEventListener("pagehide", this.#leave)
    addEventListener("pageshow", this.#return)
    this.#announcer.start()
    this.#tabs.start()
  }

  /** Disconnects this tab. The account's other tabs go on. */
  stop() {
    this.#stop()
  }

  /**
   * Goes on with the configuration of another page of the same account. `connect()` calls it.
   *
   * @param {Config} config
   */
  adopt(config) {
    if (config === this.config) return
    this.#api.config = config
    if (this.status === "logged_out") this.start() // the account has logged in again
  }

  /** Stops, and forgets everything: another account's page is shown. `connect()` calls it. */
  end() {
    this.#api.end()
    this.#stop("logged_out")
    this.#forget()
  }

  /** @returns {Config} */
  get config() {
    return this.#api.config
  }

  /** @returns {Status} */
  get status() {
    return /** @type {Status} */ (this.#tabs.status)
  }

  /**
   * The server's counts, with the marks that it has not confirmed yet.
   *
   * @returns {Counts & { total: number }}
   */
  get unread() {
    return store.countsOf(this.#state)
  }

  /** The time by the server's clock, in milliseconds since 1970. */
  now() {
    return this.#api.now()
  }

  /**
   * The items that are loaded, newest first.
   *
   * @param {Folder} folder
   * @returns {Item[]}
   */
  items(folder = "inbox") {
    return this.isLoaded(folder) ? this.#lists.itemsIn(this.#state, folder) : []
  }

  /** @param {string} id */
  isUnread(id) {
    return store.isUnread(this.#state, id)
  }

  /** @param {Folder} folder */
  isLoaded(folder = "inbox") {
    return folder in this.#state.folders
  }

  /** @param {Folder} folder */
  hasOlder(folder = "inbox") {
    return Boolean(this.#state.folders[folder]?.next)
  }

  /**
   * Loads the newest 30 items, unless some are loaded.
   *
   * @param {Folder} folder
   */
  async load(folder = "inbox") {
    if (!this.isLoaded(folder)) await this.#loadPage(folder)
  }

  /**
   * Loads the next 30 items.
   *
   * @param {Folder} folder
   */
  async loadOlder(folder = "inbox") {
    const running = this.#loading.get(folder)
    if (running && !running.before) await running.page // a reload: it may change what is older
    if (this.hasOlder(folder)) await this.#loadPage(folder, this.#state.folders[folder].next)
  }

  /**
   * Marks items: in this tab at once, elsewhere when the server confirms it.
   *
   * If the server fails, the change is reverted and the promise rejects.
   *
   * @param {string[]} ids
   * @param {Mark} as
   * @returns {Promise<MarkAnswer>}
   */
  mark(ids, as) {
    return this.#mark({ ids, as })
  }

  /**
   * Marks everything that this page has received. Later arrivals stay unread.
   *
   * @param {"read" | "archived"} as
   * @returns {Promise<MarkAnswer>}
   */
  markAll(as) {
    const { seq, broadcast_seq } = store.positionOf(this.#state) ?? { seq: 0, broadcast_seq: 0 }
    return this.#mark({ upto: { seq, broadcast_seq }, as })
  }

  /**
   * Reverses a mark, except for items that have changed since.
   *
   * @param {Range} range
   * @returns {Promise<MarkAnswer>}
   */
  async undo(range) {
    const answer = await this.#marks.add({ undo: range })
    this.#update(store.applyMark(this.#state, answer))
    return answer
  }

  /**
   * Records that an announcement is no longer shown, so that the next page does not show it again.
   *
   * @param {Pick<Notification, "id">} notification
   */
  recordHidden(notification) {
    this.#announcer.recordHidden(notification)
  }

  /**
   * What was announced in this tab and may still be shown: for the elements of a page that was
   * swapped in.
   *
   * @returns {Announcement[]}
   */
  get announced() {
    return this.#announcer.announced
  }

  // Private

  #stop(status) {
    removeEventListener("pagehide", this.#leave)
    removeEventListener("pageshow", this.#return)
    this.#announcer.stop()
    this.#tabs.stop(status)
  }

  #forget() {
    this.#announcer.forget()
    this.#update({ ...store.initialState(), generation: this.#state.generation + 1 })
  }

  #socketUrl() {
    const { account, urls } = this.config
    const url = http.withParams(urls.socket, { ...store.positionOf(this.#state), account })
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
    if (frame.type === "heartbeat") this.#hasFailed = false
    // What is lacking may still arrive before a frame with counts: until then it is catching up.
    const isDue = this.#state.isOutdated || (frame.unread !== undefined && store.lacksItems(this.#state))
    if (isDue && !this.#hasFailed && !this.#loading.has("inbox")) this.#reload()
  }

  #notify(notification) {
    const { wasKnown, since } = this.#announcer.lookUp(notification)
    if (wasKnown ? since : this.#dispatch(notification)) {
      this.#announcer.add(notification, since, this.status === "recovering")
    }
  }

  #dispatch(notification) {
    const isWanted = this.#emit("notification", notification, { cancelable: true })
    if (!OWN_EVENTS.includes(notification.type)) this.#emit(notification.type, notification)
    return isWanted
  }

  #changeStatus = (status) => {
    if (status === "online" || status === "polling") this.#isConfirmed = true
    // A page from some cache, of an account that is no longer logged in.
    if (status === "logged_out" && !this.#isConfirmed) this.#forget()
    if (status === "online") this.#announcer.announceMissed()
    this.#emit("status", status)
  }

  #update(state) {
    const before = this.#state
    if (state === before) return
    const counted = JSON.stringify(this.unread)
    this.#state = state
    if (JSON.stringify(this.unread) !== counted) this.#emit("unread", this.unread)
    if (["items", "folders", "marks"].some((part) => state[part] !== before[part])) this.#emit("change")
  }

  #emit(type, detail, options) {
    return this.dispatchEvent(new CustomEvent(type, { detail, ...options }))
  }

  // Requests

  async #reload() {
    try {
      await this.#loadPage("inbox")
    } catch (error) {
      this.#hasFailed = true // after the next heartbeat it tries again
      if (error.name !== "ApiError") throw error
    }
  }

  // One request per folder at a time; further callers wait for the same one.
  #loadPage(folder, before) {
    if (!this.#loading.has(folder)) {
      const page = this.#fetchPage(folder, before).finally(() => this.#loading.delete(folder))
      this.#loading.set(folder, { before, page })
    }
    return this.#loading.get(folder).page
  }

  async #fetchPage(folder, before) {
    const { generation } = this.#state
    const [page, lists] = await Promise.all([this.#request(this.#api.items({ before, folder })), importLists()])
    this.#lists = lists
    // After a resync this page may be out of date.
    if (generation !== this.#state.generation || lists.isOvertaken(this.#state, page)) return this.#fetchPage(folder)
    const loaded = /** @type {Folder[]} */ (Object.keys(this.#state.folders))
    this.#update(lists.applyPage(this.#state, page, folder, before))
    const { epoch, scope } = this.#origin ?? page
    if (page.epoch !== epoch || page.scope !== scope) this.#tabs.restart()
    await Promise.all(loaded.filter((name) => name !== folder).map((name) => this.load(name)))
  }

  async #mark(mark) {
    this.#update(store.beginMark(this.#state, mark))
    try {
      const answer = await this.#marks.add(mark)
      this.#update(store.applyMark(this.#state, answer, mark))
      return answer
    } catch (error) {
      this.#update(store.endMark(this.#state, mark))
      throw error
    }
  }

  async #request(answer) {
    try {
      return await answer
    } catch (error) {
      if (error.status === 401) this.#tabs.end("logged_out")
      throw error
    }
  }

  // Going from page to page

  #leave = () => {
    const position = store.positionOf(this.#state)
    if (position) this.#announcer.remember(position)
    this.#marks.flush()
    this.#tabs.stop()
  }

  #return = ({ persisted }) => {
    if (!persisted) return
    this.#isConfirmed = false
    this.#tabs.start()
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
 * `connecting`, `recovering` (catching up), `online`; `offline` (it will try again), `polling`
 * (WebSockets are blocked, so it polls over HTTP), `paused` (the account has too many newer
 * connections; until a tab is used), `logged_out` and `closed` (it will not try again).
 *
 * @typedef {"connecting" | "recovering" | "online" | "offline" | "polling" | "paused" | "logged_out" | "closed"} Status
 */

/**
 * `important`: unread broadcasts of the levels `warning` and `error`.
 *
 * @typedef {"inbox" | "unread" | "archived" | "important"} Folder
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
 * @property {string} [id] Without one it is not stored, and has none of the properties below.
 * @property {number} [number]
 * @property {"unread" | "read" | "archived"} [state]
 * @property {Level} [level]
 * @property {string} [url]
 * @property {string} [created_at] ISO 8601, by the server's clock
 * @property {string | null} [expires_at]
 * @property {string | null} [replaces] The id of the notification that it replaces.
 * @property {number} [seq] The number of its last change; a broadcast has `broadcast_seq` instead.
 * @property {number} [broadcast_seq]
 */

/**
 * A notification in a list. Its `state` includes marks that the server has not confirmed yet.
 *
 * @template [MetaData=unknown]
 * @typedef {Notification<MetaData> &
 *   Required<Pick<Notification, "id" | "number" | "state" | "level" | "url" | "created_at">>} Item
 */

/**
 * @typedef {object} Announcement
 * @property {Notification} notification
 * @property {number} since When it was first shown, in ms since 1970 by this computer's clock.
 */

/**
 * Items were marked, or removed (`gone`), on any device.
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
 * The change numbers of one mark; `undo()` takes it.
 *
 * @typedef {object} Range
 * @property {Mark} as
 * @property {number} from The first change number.
 * @property {number} seq The last change number.
 * @property {number[][]} [parts] Those of each part, where other changes came in between.
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
 * @property {{ seq: number, broadcast_seq: number, epoch: number, scope: string }} cursor The page's position.
 * @property {{ changes: string, inbox: string, items: string, mark: string, socket: string }} urls
 * @property {{ interval: number, timeout: number }} heartbeat in seconds
 * @property {string} [sound] URL of a sound; "": none
 */

/** @typedef {PageConfig & Partial<Counts>} Config */

/**
 * @typedef {object} NotificationsEventMap
 * @property {CustomEvent<Notification>} notification
 *   A new notification. `preventDefault()` keeps it from being announced.
 * @property {CustomEvent<Announcement[]>} announce
 *   To be shown in this tab, oldest first: still unread, and not announced in this tab before.
 * @property {CustomEvent<StateChange>} state
 * @property {CustomEvent<Counts & { total: number }>} unread
 * @property {CustomEvent<Status>} status
 * @property {CustomEvent<null>} change `items()` has changed.
 */

/**
 * Any other event type is the type of a notification.
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
 * Requests reject with an error of this shape.
 *
 * @typedef {object} ApiErrorParts
 * @property {"ApiError"} name
 * @property {number} status The HTTP status; 0: no answer, or none from the site. 401: not logged in.
 */

/** @typedef {Error & ApiErrorParts} ApiError */

/**
 * `connecting`, `recovering` (being told what was missed), `online`; `offline` (tried again by
 * itself), `polling` (sockets do not get through, it is looked over HTTP), `paused` (until a tab
 * is used: the account has too many newer ones) and `closed` (nobody is logged in any more).
 */
export type Status = "connecting" | "recovering" | "online" | "offline" | "polling" | "paused" | "closed"

/** `important`: unread broadcasts of the levels `warning` and `error`. */
export type View = "inbox" | "unread" | "archived" | "important"

export type Mark = "read" | "unread" | "archived" | "inbox"

export type Level = "info" | "success" | "warning" | "error"

/** A frame of the protocol: what `notify_accounts()` or `broadcast()` sent. */
export interface Notification<MetaData = unknown> {
  type: string
  content: { body: string; meta_data: MetaData }
  /** Without one it is stored nowhere, and has none of what follows. */
  id?: string
  number?: number
  state?: "unread" | "read" | "archived"
  level?: Level
  url?: string
  /** ISO 8601, by the server's clock */
  created_at?: string
  expires_at?: string | null
  /** The id of the one whose place it takes. */
  replaces?: string | null
  /** The number of its last change; a broadcast has `broadcast_seq` instead. */
  seq?: number
  broadcast_seq?: number
}

/** An item of a list; `state` is what it will be once the marks on their way have arrived. */
export type Item<MetaData = unknown> = Notification<MetaData> &
  Required<Pick<Notification, "id" | "number" | "state" | "level" | "url" | "created_at">>

export interface Announcement {
  notification: Notification
  /** Since when it has been on show, in ms since the epoch by this computer's clock. */
  since: number
}

/** Items were changed, or withdrawn (`gone`), on whichever device. */
export interface StateChange {
  type: "state"
  as: "unread" | "read" | "archived" | "gone"
  ids?: string[]
  range?: { from: number; seq: number; upto: { seq: number; broadcast_seq: number } }
}

export interface Counts {
  unread: number
  unread_broadcasts: number
}

/** The numbers that one mark gave to what it changed; what `undo()` takes. */
export interface Range {
  as: Mark
  from: number
  seq: number
}

export interface MarkAnswer extends Counts {
  /** null: there was nothing to change */
  range: Range | null
  ids: string[]
}

/** What the page's template tag renders. */
export interface Config extends Partial<Counts> {
  account: string
  protocol: number
  csrf_token: string
  cursor: { seq: number; broadcast_seq: number; epoch: number; scope: string }
  urls: { changes: string; inbox: string; items: string; mark: string; socket: string }
  /** in seconds */
  heartbeat: { interval: number; timeout: number }
  /** address of a sound; "": none */
  sound?: string
}

export interface NotificationsEventMap {
  /** Something new; `preventDefault()` keeps it from being announced. */
  notification: CustomEvent<Notification>
  /** To be shown in this tab, oldest first: read by nobody, and not announced in this tab before. */
  announce: CustomEvent<Announcement[]>
  state: CustomEvent<StateChange>
  unread: CustomEvent<Counts & { total: number }>
  status: CustomEvent<Status>
  /** `items()` are others than before. */
  change: CustomEvent<null>
}

/** Its requests reject with an error of this shape. */
export interface ApiError extends Error {
  name: "ApiError"
  /** of HTTP; 0: no answer came, or none of the site's own. 401: nobody is logged in. */
  status: number
}

export class NotificationsClient extends EventTarget {
  constructor(config: Config)

  readonly config: Config
  readonly status: Status
  /** The server's counts, with the marks on their way. */
  readonly unread: Counts & { total: number }

  /** Connects; `connect()` has done it. */
  start(): void
  /** Takes this tab out; the account's other tabs go on. */
  stop(): void

  /** Milliseconds since the epoch by the server's clock, as far as it is known. */
  now(): number

  /** What is loaded, newest first. */
  items(view?: View): Item[]
  isUnread(id: string): boolean
  isLoaded(view?: View): boolean
  hasOlder(view?: View): boolean
  /** Loads the newest 30, unless they are here. */
  load(view?: View): Promise<void>
  /** Loads the next 30. */
  loadOlder(view?: View): Promise<void>

  /** Done in this tab at once; taken back, and rejected, if the server does not. */
  mark(ids: string[], as: Mark): Promise<MarkAnswer>
  /** Everything that this page has been told of. */
  markAll(as: "read" | "archived"): Promise<MarkAnswer>
  /** Reverses a mark for all that nobody has changed since. */
  undo(range: Range): Promise<MarkAnswer>

  /** Says that what was announced is on show no more: it does not come along to the next page. */
  recordHidden(notification: Pick<Notification, "id">): void

  addEventListener<Type extends keyof NotificationsEventMap>(
    type: Type,
    listener: (event: NotificationsEventMap[Type]) => void,
    options?: boolean | AddEventListenerOptions
  ): void
  /** A notification's own type. */
  addEventListener(
    type: string,
    listener: (event: CustomEvent<Notification>) => void,
    options?: boolean | AddEventListenerOptions
  ): void
  removeEventListener(
    type: string,
    listener: ((event: CustomEvent<any>) => void) | EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions
  ): void
}

/** The page's one client, connected; null where nobody is logged in. */
export function connect(): NotificationsClient | null

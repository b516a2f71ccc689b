/**
 * The page's one client, connected; null where nobody is logged in.
 *
 * That is a page without the configuration that the template tags render. The client of an
 * account lasts while pages of that account are swapped in (by Turbo, htmx, …); one of another
 * account has another client, and the former one has ended.
 *
 * @returns {NotificationsClient | null}
 */
export function connect(): NotificationsClient | null;
declare const NotificationsClient_base: new () => NotificationsEventTarget;
export class NotificationsClient extends NotificationsClient_base {
    /** @param {Config} config */
    constructor(config: Config);
    /** Connects. `connect()` has done so already. */
    start(): void;
    /** Disconnects this tab. The account's other tabs go on. */
    stop(): void;
    /**
     * Goes on with the configuration of another page of the same account. `connect()` calls it.
     *
     * @param {Config} config
     */
    adopt(config: Config): void;
    /** Stops, and forgets everything: another account's page is shown. `connect()` calls it. */
    end(): void;
    /** @returns {Config} */
    get config(): Config;
    /** @returns {Status} */
    get status(): Status;
    /**
     * The server's counts, with the marks that it has not confirmed yet.
     *
     * @returns {Counts & { total: number }}
     */
    get unread(): Counts & {
        total: number;
    };
    /** The time by the server's clock, in milliseconds since 1970. */
    now(): number;
    /**
     * The items that are loaded, newest first.
     *
     * @param {Folder} folder
     * @returns {Item[]}
     */
    items(folder?: Folder): Item[];
    /** @param {string} id */
    isUnread(id: string): boolean;
    /** @param {Folder} folder */
    isLoaded(folder?: Folder): boolean;
    /** @param {Folder} folder */
    hasOlder(folder?: Folder): boolean;
    /**
     * Loads the newest 30 items, unless some are loaded.
     *
     * @param {Folder} folder
     */
    load(folder?: Folder): Promise<void>;
    /**
     * Loads the next 30 items.
     *
     * @param {Folder} folder
     */
    loadOlder(folder?: Folder): Promise<void>;
    /**
     * Marks items: in this tab at once, elsewhere when the server confirms it.
     *
     * If the server fails, the change is reverted and the promise rejects.
     *
     * @param {string[]} ids
     * @param {Mark} as
     * @returns {Promise<MarkAnswer>}
     */
    mark(ids: string[], as: Mark): Promise<MarkAnswer>;
    /**
     * Marks everything that this page has received. Later arrivals stay unread.
     *
     * @param {"read" | "archived"} as
     * @returns {Promise<MarkAnswer>}
     */
    markAll(as: "read" | "archived"): Promise<MarkAnswer>;
    /**
     * Reverses a mark, except for items that have changed since.
     *
     * @param {Range} range
     * @returns {Promise<MarkAnswer>}
     */
    undo(range: Range): Promise<MarkAnswer>;
    /**
     * Records that an announcement is no longer shown, so that the next page does not show it again.
     *
     * @param {Pick<Notification, "id">} notification
     */
    recordHidden(notification: Pick<Notification, "id">): void;
    /**
     * What was announced in this tab and may still be shown: for the elements of a page that was
     * swapped in.
     *
     * @returns {Announcement[]}
     */
    get announced(): Announcement[];
    #private;
}
/**
 * `connecting`, `recovering` (catching up), `online`; `offline` (it will try again), `polling`
 * (WebSockets are blocked, so it polls over HTTP), `paused` (the account has too many newer
 * connections; until a tab is used), `logged_out` and `closed` (it will not try again).
 */
export type Status = "connecting" | "recovering" | "online" | "offline" | "polling" | "paused" | "logged_out" | "closed";
/**
 * `important`: unread broadcasts of the levels `warning` and `error`.
 */
export type Folder = "inbox" | "unread" | "archived" | "important";
export type Mark = "read" | "unread" | "archived" | "inbox";
export type Level = "info" | "success" | "warning" | "error";
/**
 * A frame of the protocol: what `notify_accounts()` or `broadcast()` sent.
 */
export type Notification<MetaData = unknown> = {
    type: string;
    content: {
        body: string;
        meta_data: MetaData;
    };
    /**
     * Without one it is not stored, and has none of the properties below.
     */
    id?: string | undefined;
    number?: number | undefined;
    state?: "unread" | "read" | "archived" | undefined;
    level?: Level | undefined;
    url?: string | undefined;
    /**
     * ISO 8601, by the server's clock
     */
    created_at?: string | undefined;
    expires_at?: string | null | undefined;
    /**
     * The id of the notification that it replaces.
     */
    replaces?: string | null | undefined;
    /**
     * The number of its last change; a broadcast has `broadcast_seq` instead.
     */
    seq?: number | undefined;
    broadcast_seq?: number | undefined;
};
/**
 * A notification in a list. Its `state` includes marks that the server has not confirmed yet.
 */
export type Item<MetaData = unknown> = Notification<MetaData> & Required<Pick<Notification, "id" | "number" | "state" | "level" | "url" | "created_at">>;
export type Announcement = {
    notification: Notification;
    /**
     * When it was first shown, in ms since 1970 by this computer's clock.
     */
    since: number;
};
/**
 * Items were marked, or removed (`gone`), on any device.
 */
export type StateChange = {
    type: "state";
    as: "unread" | "read" | "archived" | "gone";
    ids?: string[] | undefined;
    range?: {
        from: number;
        seq: number;
        upto: {
            seq: number;
            broadcast_seq: number;
        };
    } | undefined;
};
export type Counts = {
    unread: number;
    unread_broadcasts: number;
};
/**
 * The change numbers of one mark; `undo()` takes it.
 */
export type Range = {
    as: Mark;
    /**
     * The first change number.
     */
    from: number;
    /**
     * The last change number.
     */
    seq: number;
    /**
     * Those of each part, where other changes came in between.
     */
    parts?: number[][] | undefined;
};
export type MarkChanges = {
    /**
     * null: there was nothing to change
     */
    range: Range | null;
    ids: string[];
};
export type MarkAnswer = Counts & MarkChanges;
/**
 * What the page's template tag renders.
 */
export type PageConfig = {
    account: string;
    protocol: number;
    csrf_token: string;
    /**
     * The page's position.
     */
    cursor: {
        seq: number;
        broadcast_seq: number;
        epoch: number;
        scope: string;
    };
    urls: {
        changes: string;
        inbox: string;
        items: string;
        mark: string;
        socket: string;
    };
    /**
     * in seconds
     */
    heartbeat: {
        interval: number;
        timeout: number;
    };
    /**
     * URL of a sound; "": none
     */
    sound?: string | undefined;
};
export type Config = PageConfig & Partial<Counts>;
export type NotificationsEventMap = {
    /**
     *   A new notification. `preventDefault()` keeps it from being announced.
     */
    notification: CustomEvent<Notification>;
    /**
     *   To be shown in this tab, oldest first: still unread, and not announced in this tab before.
     */
    announce: CustomEvent<Announcement[]>;
    state: CustomEvent<StateChange>;
    unread: CustomEvent<Counts & {
        total: number;
    }>;
    status: CustomEvent<Status>;
    /**
     * `items()` has changed.
     */
    change: CustomEvent<null>;
};
/**
 * Any other event type is the type of a notification.
 */
export type NotificationsEventTarget = Omit<EventTarget, "addEventListener" | "removeEventListener"> & {
    addEventListener<Type extends keyof NotificationsEventMap>(type: Type, listener: (event: NotificationsEventMap[Type]) => void, options?: boolean | AddEventListenerOptions): void;
    addEventListener(type: string, listener: (event: CustomEvent<Notification>) => void, options?: boolean | AddEventListenerOptions): void;
    removeEventListener(type: string, listener: ((event: CustomEvent<any>) => void) | EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
};
/**
 * Requests reject with an error of this shape.
 */
export type ApiErrorParts = {
    name: "ApiError";
    /**
     * The HTTP status; 0: no answer, or none from the site. 401: not logged in.
     */
    status: number;
};
export type ApiError = Error & ApiErrorParts;
export {};

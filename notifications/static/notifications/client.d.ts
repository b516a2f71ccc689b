/**
 * The page's one client, connected; null where nobody is logged in.
 *
 * That is a page without the configuration that the template tags render.
 *
 * @returns {NotificationsClient | null}
 */
export function connect(): NotificationsClient | null;
declare const NotificationsClient_base: new () => NotificationsEventTarget;
export class NotificationsClient extends NotificationsClient_base {
    /** @param {Config} config */
    constructor(config: Config);
    /** @readonly */
    readonly config: Config;
    /** Connects; `connect()` has done it. */
    start(): void;
    /** Takes this tab out; the account's other tabs go on. */
    stop(): void;
    /** @returns {Status} */
    get status(): Status;
    /**
     * The server's counts, with the marks on their way.
     *
     * @returns {Counts & { total: number }}
     */
    get unread(): Counts & {
        total: number;
    };
    /** Milliseconds since the epoch by the server's clock, as far as it is known. */
    now(): number;
    /**
     * What is loaded, newest first.
     *
     * @param {View} view
     * @returns {Item[]}
     */
    items(view?: View): Item[];
    /** @param {string} id */
    isUnread(id: string): boolean;
    /** @param {View} view */
    isLoaded(view?: View): boolean;
    /** @param {View} view */
    hasOlder(view?: View): boolean;
    /**
     * Loads the newest 30, unless they are here.
     *
     * @param {View} view
     */
    load(view?: View): Promise<void>;
    /**
     * Loads the next 30.
     *
     * @param {View} view
     */
    loadOlder(view?: View): Promise<void>;
    /**
     * Done in this tab at once; taken back, and rejected, if the server does not.
     *
     * @param {string[]} ids
     * @param {Mark} as
     * @returns {Promise<MarkAnswer>}
     */
    mark(ids: string[], as: Mark): Promise<MarkAnswer>;
    /**
     * Everything that this page has been told of: the rest was never seen.
     *
     * @param {"read" | "archived"} as
     * @returns {Promise<MarkAnswer>}
     */
    markAll(as: "read" | "archived"): Promise<MarkAnswer>;
    /**
     * Reverses a mark for all that nobody has changed since.
     *
     * @param {Range} range
     * @returns {Promise<MarkAnswer>}
     */
    undo(range: Range): Promise<MarkAnswer>;
    /**
     * Says that what was announced is on show no more: it does not come along to the next page.
     *
     * @param {Pick<Notification, "id">} notification
     */
    recordHidden(notification: Pick<Notification, "id">): void;
    #private;
}
/**
 * `connecting`, `recovering` (being told what was missed), `online`; `offline` (tried again by
 * itself), `polling` (sockets do not get through, it is looked over HTTP), `paused` (until a tab
 * is used: the account has too many newer ones) and `closed` (nobody is logged in any more).
 */
export type Status = "connecting" | "recovering" | "online" | "offline" | "polling" | "paused" | "closed";
/**
 * `important`: unread broadcasts of the levels `warning` and `error`.
 */
export type View = "inbox" | "unread" | "archived" | "important";
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
     * Without one it is stored nowhere, and has none of what follows.
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
     * The id of the one whose place it takes.
     */
    replaces?: string | null | undefined;
    /**
     * The number of its last change; a broadcast has `broadcast_seq` instead.
     */
    seq?: number | undefined;
    broadcast_seq?: number | undefined;
};
/**
 * An item of a list; `state` is what it will be once the marks on their way have arrived.
 */
export type Item<MetaData = unknown> = Notification<MetaData> & Required<Pick<Notification, "id" | "number" | "state" | "level" | "url" | "created_at">>;
export type Announcement = {
    notification: Notification;
    /**
     * Since when it has been on show, in ms since the epoch by this computer's clock.
     */
    since: number;
};
/**
 * Items were changed, or withdrawn (`gone`), on whichever device.
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
 * The numbers that one mark gave to what it changed; what `undo()` takes.
 */
export type Range = {
    as: Mark;
    /**
     * The first of them.
     */
    from: number;
    /**
     * The last of them.
     */
    seq: number;
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
     * address of a sound; "": none
     */
    sound?: string | undefined;
};
export type Config = PageConfig & Partial<Counts>;
export type NotificationsEventMap = {
    /**
     * Something new; `preventDefault()` keeps it from being announced.
     */
    notification: CustomEvent<Notification>;
    /**
     *   To be shown in this tab, oldest first: read by nobody, and not announced in this tab before.
     */
    announce: CustomEvent<Announcement[]>;
    state: CustomEvent<StateChange>;
    unread: CustomEvent<Counts & {
        total: number;
    }>;
    status: CustomEvent<Status>;
    /**
     * `items()` are others than before.
     */
    change: CustomEvent<null>;
};
/**
 * Any other type of event is a notification's own.
 */
export type NotificationsEventTarget = Omit<EventTarget, "addEventListener" | "removeEventListener"> & {
    addEventListener<Type extends keyof NotificationsEventMap>(type: Type, listener: (event: NotificationsEventMap[Type]) => void, options?: boolean | AddEventListenerOptions): void;
    addEventListener(type: string, listener: (event: CustomEvent<Notification>) => void, options?: boolean | AddEventListenerOptions): void;
    removeEventListener(type: string, listener: ((event: CustomEvent<any>) => void) | EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
};
/**
 * Its requests reject with an error of this shape.
 */
export type ApiErrorParts = {
    name: "ApiError";
    /**
     * of HTTP; 0: no answer came, or none of the site's own. 401: nobody is logged in.
     */
    status: number;
};
export type ApiError = Error & ApiErrorParts;
export {};

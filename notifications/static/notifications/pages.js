// @ts-check
import { asMarked, count, cursorOf, inRange, isBroadcast, moveCursor, outdate } from "./store.js";

// The lists: pages of the inbox, as they come over HTTP, among what the frames have told.
//
// A page is read head first and rows second; as its rows can be ahead of its head,
// each item also keeps the number of its own last change.

const VIEWS = {
  inbox: ({ state }) => state === "unread" || state === "read",
  unread: ({ state }) => state === "unread",
  archived: ({ state }) => state === "archived",
  important: (item) => item.state === "unread" && isBroadcast(item) && ["warning", "error"].includes(item.level)
}

// The least number that a view's pages reach, of each kind.
const NOTHING_READ = { own: Infinity, broadcasts: Infinity }

// Newest first: each kind by its number, both merged by the time of the foremost.
// Not sorted by time, since the clocks of the processes that wrote it may differ.
export function itemsIn(state, view) {
  const shown = [...state.items.values()]
    .filter((item) => item.isLive || item.number >= state.views[view]?.from[kindOf(item)])
    .map((item) => asMarked(state, item))
    .filter(VIEWS[view])
    .sort((a, b) => b.number - a.number)
  const broadcasts = shown.filter(isBroadcast)
  const own = shown.filter((item) => !isBroadcast(item))
  const merged = []
  let i = 0
  let j = 0
  while (i < own.length || j < broadcasts.length) {
    const ownIsNext = j === broadcasts.length || (i < own.length && own[i].created_at >= broadcasts[j].created_at)
    merged.push(ownIsNext ? own[i++] : broadcasts[j++])
  }
  return merged
}

// Whether a page of another audience is older than what has been told: no start can be made with it.
export function isOvertaken(state, page) {
  const isBehind = page.seq < state.seq || page.broadcast_seq < state.broadcast_seq
  return isBehind && page.epoch === state.epoch && page.scope !== state.scope
}

// Merges a page into a view. It does not move the cursor: what the page was ahead
// of also concerns items that are not on it, and the socket will tell all of it.
// After a resync, or when it is of another epoch or scope, what was held before goes.
// Another epoch has other numbers: only then the cursor is the page's.
export function applyPage(state, page, view) {
  const { epoch, scope } = page
  let start = state
  if (hasOtherOrigin(state, page)) start = outdate(state, { ...numbersIn(state, page), epoch, scope })
  const next = { ...start, items: new Map(start.items), views: { ...start.views } }
  if (start.isOutdated) {
    for (const [id, { generation }] of next.items) if (generation !== start.generation) next.items.delete(id)
    Object.assign(next, { views: {}, isOutdated: false, epoch, scope })
  }
  // How far its pages reach.
  const from = page.next ? { ...NOTHING_READ, ...next.views[view]?.from } : { own: 0, broadcasts: 0 }
  for (const item of page.items) {
    const kind = kindOf(item)
    from[kind] = Math.min(from[kind], item.number)
    const added = itemOfPage(next, item, page)
    if (added) next.items.set(item.id, added)
  }
  next.views[view] = { from, next: page.next }
  const counted = count(next, page)
  return cursorOf(counted) ? counted : moveCursor(counted, page)
}

// Private

function kindOf(item) {
  return isBroadcast(item) ? "broadcasts" : "own"
}

function hasOtherOrigin(state, { epoch, scope }) {
  return (state.epoch !== undefined && state.epoch !== epoch) || (state.scope !== undefined && state.scope !== scope)
}

function numbersIn({ seq, broadcast_seq, ...state }, { epoch }) {
  return epoch === state.epoch ? { seq, broadcast_seq } : {}
}

function itemOfPage(state, item, page) {
  const { generation } = state
  const held = state.items.get(item.id)
  const isAhead = isBroadcast(item) ? item.broadcast_seq > state.broadcast_seq : item.seq > state.seq
  // A broadcast's item says nothing of its receipt's number, only that the page is at least so new.
  const changedAt = isBroadcast(item) ? page.seq : item.seq
  if (held && held.changedAt >= changedAt) return held
  let added = { ...item, changedAt, generation, isAhead: held ? held.isAhead : isAhead, isLive: held?.isLive }
  const early = state.early.get(item.id)
  if (early?.seq > changedAt || early?.broadcast_seq > page.broadcast_seq) {
    added = { ...added, state: early.state, changedAt: early.seq ?? changedAt }
  }
  added = state.ranges.reduce(inRange, added)
  return added.state === "gone" ? null : added
}

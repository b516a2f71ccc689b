// @ts-check
import { asMarked, count, inRange, isBroadcast, isGone, isItem, movePosition, outdate, positionOf } from "./store.js";

// The lists: pages of the inbox, loaded over HTTP, merged with the items and changes in frames.
//
// The server reads the position of a page first and its rows second. The rows can be newer
// than the position, so each item also keeps the number of its own last change.

const FOLDERS = {
  inbox: ({ state }) => state === "unread" || state === "read",
  unread: ({ state }) => state === "unread",
  archived: ({ state }) => state === "archived",
  important: (item) => item.state === "unread" && isBroadcast(item) && ["warning", "error"].includes(item.level)
}

// The smallest number that a folder's pages reach, of each kind.
const NOTHING_LOADED = { own: Infinity, broadcasts: Infinity }

// Newest first: each kind in the order of its numbers, both merged by the time of the next one.
// Not sorted by time, since the clocks of the servers that created them may differ.
export function itemsIn(state, folder) {
  const shown = [...state.items.values()]
    .filter((item) => item.isLive || item.number >= state.folders[folder]?.from[kindOf(item)])
    .map((item) => asMarked(state, item))
    .filter(FOLDERS[folder])
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

// Whether a page of another scope is older than this page's position, and so can't replace it.
export function isOvertaken(state, page) {
  const isBehind = page.seq < state.seq || page.broadcast_seq < state.broadcast_seq
  return isBehind && page.epoch === state.epoch && page.scope !== state.scope
}

// Merges a page into a folder. It does not move the position: changes between the two also
// concern items that are not on the page, and all of them will arrive as frames. After a
// resync, or if the page has another epoch or scope, the items held before are dropped.
// Another epoch has other numbers: only then does the position become the page's.
// before: what the page was requested with; the first page of a list has none.
export function applyPage(state, page, folder, before) {
  const { epoch, scope } = page
  let start = state
  if (hasOtherOrigin(state, page)) start = outdate(state, { ...numbersIn(state, page), epoch, scope })
  const next = { ...start, items: new Map(start.items), folders: { ...start.folders } }
  if (start.isOutdated) {
    for (const [id, { generation }] of next.items) if (generation !== start.generation) next.items.delete(id)
    Object.assign(next, { folders: {}, isOutdated: false, epoch, scope })
  }
  // How far back its pages reach.
  const from = page.next ? { ...NOTHING_LOADED, ...next.folders[folder]?.from } : { own: 0, broadcasts: 0 }
  for (const item of page.items.filter(isItem)) {
    const kind = kindOf(item)
    from[kind] = Math.min(from[kind], item.number)
    const added = itemOfPage(next, item, page)
    if (added) next.items.set(item.id, added)
  }
  const reached = next.folders[folder]
  const isFurther = !reached || from.own < reached.from.own || from.broadcasts < reached.from.broadcasts
  const readAt = before ? reached?.readAt : page.seq
  next.folders[folder] = { from, next: isFurther ? page.next : reached.next, readAt }
  const counted = count(next, page)
  return positionOf(counted) ? counted : movePosition(counted, page)
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
  if (isGone(state, item.id)) return null
  const { generation } = state
  const held = state.items.get(item.id)
  const isAhead = isBroadcast(item) ? item.broadcast_seq > state.broadcast_seq : item.seq > state.seq
  // A broadcast's item does not have its receipt's number. The page is at least that new.
  const changedAt = isBroadcast(item) ? page.seq : item.seq
  if (held && held.changedAt >= changedAt) return held
  let added = { ...item, changedAt, generation, isAhead: held ? held.isAhead : isAhead, isLive: held?.isLive }
  const early = state.early.get(item.id)
  if (early?.seq > changedAt) added = { ...added, state: early.state, changedAt: early.seq }
  return state.ranges.reduce(inRange, added)
}

// The inbox as this page knows it. Pure functions: (state, frame or page) -> state.
//
// Two numbers order everything: `seq` the changes of this account, `broadcast_seq`
// the broadcasts. A frame that carries one promises that everything up to it has
// been told, so the cursor is the last pair seen and what is not above it is old.
// A page is read head first and rows second; as its rows can be ahead of its head,
// each item also keeps the number of its own last change.

const REMEMBERED_STATES = 1000
const REMEMBERED_RANGES = 20
const UNKNOWN = -1

export const VIEWS = {
  inbox: (item) => item.state === "unread" || item.state === "read",
  unread: (item) => item.state === "unread"
}

// resumeFrom: an older cursor to connect with, when the counts are of a newer one.
export function initialState({ cursor, unread = 0, unread_broadcasts = 0, resumeFrom = cursor } = {}) {
  return {
    seq: resumeFrom?.seq ?? UNKNOWN,
    broadcastSeq: resumeFrom?.broadcast_seq ?? UNKNOWN,
    epoch: cursor?.epoch,
    scope: cursor?.scope,
    unread,
    unreadAt: cursor?.seq ?? UNKNOWN,
    unreadBroadcasts: unread_broadcasts,
    unreadBroadcastsAt: [cursor?.seq ?? UNKNOWN, cursor?.broadcast_seq ?? UNKNOWN],
    items: new Map(),
    views: Object.fromEntries(Object.keys(VIEWS).map((name) => [name, emptyView()])),
    // States of items that are not here: their broadcast, or a page, may still be on its way.
    early: new Map(),
    ranges: [],
    // A resync was asked for: `outdated` are the items from before it.
    isOutdated: false,
    outdated: new Set(),
    generation: 0
  }
}

export function cursorOf(state) {
  if (state.seq === UNKNOWN || state.broadcastSeq === UNKNOWN) return null
  return { seq: state.seq, broadcast_seq: state.broadcastSeq, epoch: state.epoch, scope: state.scope }
}

export function unreadTotal(state) {
  return state.unread + state.unreadBroadcasts
}

export function isUnread(state, id) {
  return state.items.get(id)?.state === "unread"
}

// Newest first: each kind by its number, both merged by the time of the foremost.
// Not sorted by time, since the clocks of the processes that wrote it may differ.
export function itemsIn(state, view) {
  const { ids } = state.views[view]
  const shown = [...ids].map((id) => state.items.get(id)).filter((item) => item && VIEWS[view](item))
  const byNumber = (a, b) => b.number - a.number
  const broadcasts = shown.filter(isBroadcast).sort(byNumber)
  const own = shown.filter((item) => !isBroadcast(item)).sort(byNumber)
  const merged = []
  let i = 0
  let j = 0
  while (i < own.length || j < broadcasts.length) {
    const ownIsNext = j === broadcasts.length || (i < own.length && own[i].created_at >= broadcasts[j].created_at)
    merged.push(ownIsNext ? own[i++] : broadcasts[j++])
  }
  return merged
}

// Whether the frame is an item that this page has not been told of before.
export function isNew(state, frame) {
  if (!isItem(frame) || isOld(state, frame)) return false
  const held = state.items.get(frame.id)
  return !held || held.isAhead
}

export function isOld(state, frame) {
  return frame.seq <= state.seq || frame.broadcast_seq <= state.broadcastSeq
}

export function applyFrame(state, frame) {
  switch (frame.type) {
    case "register":
      return register(state, frame)
    case "heartbeat":
      return moveCursor(count(state, frame), frame)
    case "resync":
      return outdate(state, frame)
    case "state":
      return isOld(state, frame) ? state : moveCursor(count(changeStates(state, frame), frame), frame)
    default:
      if (!isItem(frame) || isOld(state, frame)) return state
      return moveCursor(count(addItem(state, frame), frame), frame)
  }
}

// Whether a page of another audience is older than what has been told: no start can be made with it.
export function isOvertaken(state, page) {
  const isBehind = page.seq < state.seq || page.broadcast_seq < state.broadcastSeq
  return isBehind && page.epoch === state.epoch && page.scope !== state.scope
}

// Merges a page into a view. It does not move the cursor: what the page was ahead
// of also concerns items that are not on it, and the socket will tell all of it.
// After a resync, or when it is of another epoch or scope, what was held before goes.
// Another epoch has other numbers: only then the cursor is the page's.
export function applyPage(state, page, view) {
  let start = state
  if (hasOtherOrigin(state, page)) start = outdate(state, { ...numbersIn(state, page), epoch: page.epoch, scope: page.scope })
  const isRestart = start.isOutdated
  const next = { ...start, items: new Map(start.items), views: { ...start.views } }
  if (isRestart) {
    for (const id of start.outdated) next.items.delete(id)
    for (const name of Object.keys(VIEWS)) {
      const ids = new Set([...start.views[name].ids].filter((id) => next.items.has(id)))
      next.views[name] = { ...emptyView(), ids }
    }
    Object.assign(next, { isOutdated: false, outdated: new Set(), epoch: page.epoch, scope: page.scope })
  }
  const ids = new Set(next.views[view].ids)
  for (const item of page.items) {
    const added = itemOfPage(next, item, page)
    if (!added) continue
    next.items.set(item.id, added)
    ids.add(item.id)
  }
  next.views[view] = { ids, next: page.next, isLoaded: true }
  const counted = count(next, page)
  return cursorOf(counted) ? counted : moveCursor(counted, page)
}

// The answer to a mark that this page sent. Its `state` frame follows, and moves the cursor.
export function applyMark(state, { range, ids, ...counts }) {
  if (!range) return state
  const items = new Map(state.items)
  // Out of the archive an item is what it was before, which only the frame tells.
  for (const id of range.as === "inbox" ? [] : ids) {
    const item = items.get(id)
    if (item && range.seq > item.changedAt) items.set(id, { ...item, state: range.as, changedAt: range.seq })
  }
  return count({ ...state, items }, { seq: range.seq, ...counts })
}

// Private

function emptyView() {
  return { ids: new Set(), next: null, isLoaded: false }
}

function isItem(frame) {
  return typeof frame.id === "string" && typeof frame.number === "number"
}

function isBroadcast(item) {
  return item.broadcast_seq !== undefined
}

function stateAfter(mark) {
  return mark === "inbox" ? "read" : mark
}

function hasOtherOrigin(state, { epoch, scope }) {
  return (state.epoch !== undefined && state.epoch !== epoch) || (state.scope !== undefined && state.scope !== scope)
}

function numbersIn({ seq, broadcastSeq, ...state }, { epoch }) {
  return epoch === state.epoch ? { seq, broadcast_seq: broadcastSeq } : {}
}

function register(state, frame) {
  if (cursorOf(state)) return state
  return moveCursor({ ...state, epoch: frame.epoch, scope: frame.scope }, frame)
}

function moveCursor(state, { seq = UNKNOWN, broadcast_seq = UNKNOWN }) {
  if (seq <= state.seq && broadcast_seq <= state.broadcastSeq) return state
  return { ...state, seq: Math.max(state.seq, seq), broadcastSeq: Math.max(state.broadcastSeq, broadcast_seq) }
}

// The server owns the counts; an answer over HTTP may be overtaken by an older frame.
function count(state, { seq = state.seq, broadcast_seq = state.broadcastSeq, unread, unread_broadcasts }) {
  const next = { ...state }
  if (unread !== undefined && seq >= state.unreadAt) {
    next.unread = unread
    next.unreadAt = seq
  }
  const [countedSeq, countedBroadcastSeq] = state.unreadBroadcastsAt
  if (unread_broadcasts !== undefined && seq >= countedSeq && broadcast_seq >= countedBroadcastSeq) {
    next.unreadBroadcasts = unread_broadcasts
    next.unreadBroadcastsAt = [seq, broadcast_seq]
  }
  return next
}

// Forgets the old numbers but keeps the items on show until a page takes their place.
function outdate(state, { seq = UNKNOWN, broadcast_seq = UNKNOWN, epoch, scope }) {
  return {
    ...state,
    seq,
    broadcastSeq: broadcast_seq,
    epoch,
    scope,
    unreadAt: UNKNOWN,
    unreadBroadcastsAt: [UNKNOWN, UNKNOWN],
    early: new Map(),
    ranges: [],
    isOutdated: true,
    outdated: new Set(state.items.keys()),
    generation: state.generation + 1
  }
}

function addItem(state, frame) {
  const held = state.outdated.has(frame.id) ? undefined : state.items.get(frame.id)
  const items = new Map(state.items)
  const item = !held || isAbove(frame, held) ? withEarlyState(state, frame) : { ...held, isAhead: false }
  const early = new Map(state.early)
  if (frame.replaces) {
    items.delete(frame.replaces)
    remember(early, frame.replaces, { state: "gone", seq: frame.seq })
  }
  if (item.state === "gone") items.delete(item.id)
  else items.set(item.id, item)
  const outdated = new Set(state.outdated)
  outdated.delete(frame.id)
  const views = mapViews(state.views, (view) => ({ ...view, ids: new Set(view.ids).add(item.id) }))
  const counts =
    isBroadcast(frame) && item.state === "unread" && frame.broadcast_seq > state.unreadBroadcastsAt[1]
      ? { unreadBroadcasts: state.unreadBroadcasts + 1 }
      : {}
  return { ...state, items, early, outdated, views, ...counts }
}

function isAbove(frame, held) {
  return isBroadcast(frame) ? frame.broadcast_seq > held.broadcast_seq : changeOf(frame) > held.changedAt
}

// Told late, an item stands at its own number, with the state of a later change.
function changeOf(frame) {
  return frame.changed ?? frame.seq
}

function withEarlyState(state, frame) {
  let item = { ...frame, changedAt: isBroadcast(frame) ? 0 : changeOf(frame) }
  const early = state.early.get(frame.id)
  if (early?.broadcast_seq > frame.broadcast_seq) return { ...item, state: early.state }
  if (early?.seq > item.changedAt) item = { ...item, state: early.state, changedAt: early.seq }
  for (const range of state.ranges) item = inRange(item, range)
  return item
}

function itemOfPage(state, item, page) {
  const held = state.items.get(item.id)
  const isAhead = isBroadcast(item) ? item.broadcast_seq > state.broadcastSeq : item.seq > state.seq
  // A broadcast's item says nothing of its receipt's number, only that the page is at least so new.
  const changedAt = isBroadcast(item) ? page.seq : item.seq
  if (held && held.changedAt >= changedAt) return held
  let added = { ...item, changedAt, isAhead: held ? held.isAhead : isAhead }
  const early = state.early.get(item.id)
  if (early?.seq > changedAt || early?.broadcast_seq > page.broadcast_seq) {
    added = { ...added, state: early.state, changedAt: early.seq ?? changedAt }
  }
  for (const range of state.ranges) added = inRange(added, range)
  return added.state === "gone" ? null : added
}

function changeStates(state, frame) {
  if (frame.range) return changeRange(state, frame)
  const as = stateAfter(frame.as)
  const items = new Map(state.items)
  const early = new Map(state.early)
  let { unreadBroadcasts } = state
  for (const id of frame.ids ?? []) {
    const item = items.get(id)
    if (!item || as === "gone") remember(early, id, { state: as, seq: frame.seq, broadcast_seq: frame.broadcast_seq })
    if (!item) continue
    if (as === "gone") {
      items.delete(id)
      if (frame.broadcast_seq !== undefined && item.state === "unread") unreadBroadcasts = Math.max(0, unreadBroadcasts - 1)
    } else if (frame.broadcast_seq !== undefined || frame.seq > item.changedAt) {
      items.set(id, { ...item, state: as, changedAt: frame.seq ?? item.changedAt })
    }
  }
  return { ...state, items, early, unreadBroadcasts }
}

function remember(early, id, told) {
  early.delete(id)
  early.set(id, told)
  if (early.size > REMEMBERED_STATES) early.delete(early.keys().next().value)
}

function changeRange(state, frame) {
  const range = { as: stateAfter(frame.as), ...frame.range }
  const items = new Map(state.items)
  for (const [id, item] of items) items.set(id, inRange(item, range))
  return { ...state, items, ranges: [...state.ranges, range].slice(-REMEMBERED_RANGES) }
}

function inRange(item, { as, seq, upto }) {
  const changed = isBroadcast(item)
    ? item.broadcast_seq <= upto.broadcast_seq && item.changedAt < seq
    : item.changedAt <= upto.seq
  const concerned = as === "archived" ? VIEWS.inbox(item) : item.state === "unread"
  return changed && concerned ? { ...item, state: as, changedAt: seq } : item
}

function mapViews(views, change) {
  return Object.fromEntries(Object.entries(views).map(([name, view]) => [name, change(view)]))
}

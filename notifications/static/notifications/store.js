// @ts-check
// The inbox as this page knows it. Pure functions: (state, frame) -> state; pages.js has the lists.
//
// Two numbers order everything: `seq` the changes of this account, `broadcast_seq` the
// broadcasts. A frame that carries one promises that everything up to it has been sent. So
// the position is the last pair received, and any change not above it is old.

const MAX_EARLY_STATES = 1000
const MAX_RANGES = 200 // a mark of 20,000 items has 80
const NOWHERE = { seq: -1, broadcast_seq: -1 }

const NOTHING_PENDING = {
  // States of items that have not arrived: their broadcast, or a page, may be on its way.
  early: new Map(),
  ranges: [],
  // Marks that the server has not confirmed yet.
  marks: []
}

// The states that a mark changes.
const MARKED = { read: ["unread"], unread: ["read"], archived: ["unread", "read"], inbox: ["archived"] }

// position: where the counts were taken. resumeFrom: an older one to connect with.
export function initialState({ position = NOWHERE, unread = 0, unread_broadcasts = 0, resumeFrom = position } = {}) {
  return {
    ...position,
    ...resumeFrom,
    ...NOTHING_PENDING,
    unread,
    unreadAt: position.seq,
    unread_broadcasts,
    unreadBroadcastsAt: position,
    items: new Map(),
    // The loaded ones, by name: {next, from, readAt}.
    folders: {},
    // Items of an older generation are from before a resync: a page will replace them.
    generation: 0,
    isOutdated: false
  }
}

export function positionOf(state) {
  const { seq, broadcast_seq, epoch, scope } = state
  return seq < 0 || broadcast_seq < 0 ? null : { seq, broadcast_seq, epoch, scope }
}

// The server's counts, with what the unconfirmed marks will do to them.
export function countsOf(state) {
  let { unread, unread_broadcasts } = state
  // Such a mark leaves only later items unread, and all of them are here.
  const isAll = state.marks.some(({ upto }) => upto)
  if (isAll) unread = unread_broadcasts = 0
  for (const item of state.marks.length ? state.items.values() : []) {
    const change = Number(asMarked(state, item).state === "unread") - Number(!isAll && item.state === "unread")
    if (isBroadcast(item)) unread_broadcasts += change
    else unread += change
  }
  return { total: unread + unread_broadcasts, unread, unread_broadcasts }
}

export function isUnread(state, id) {
  const item = state.items.get(id)
  return Boolean(item) && asMarked(state, item).state === "unread"
}

// Whether the frame is an item that this page has not received before.
export function isNew(state, frame) {
  if (!isItem(frame) || isOld(state, frame) || isGone(state, frame.id)) return false
  const held = state.items.get(frame.id)
  return !held || held.isAhead
}

export function isOld(state, frame) {
  return frame.seq <= state.seq || frame.broadcast_seq <= state.broadcast_seq
}

// Whether items may have come back from the archive that are not here, since the list was read.
export function lacksItems({ folders, early, items }) {
  const { readAt } = folders.inbox ?? folders.unread ?? {}
  const isBack = ([id, { state, seq }]) => seq > readAt && ["read", "unread"].includes(state) && !items.has(id)
  return [...early].some(isBack)
}

// For good: a page or a frame that is on its way may still have it.
export function isGone(state, id) {
  return state.early.get(id)?.state === "gone"
}

export function applyFrame(state, frame) {
  switch (frame.type) {
    case "register":
      return register(state, frame)
    case "heartbeat":
      return movePosition(count(state, frame), frame)
    case "resync":
      // It also follows a `register` that says so.
      return state.isOutdated && isSamePosition(state, frame) ? state : outdate(state, frame)
    case "state":
      return isOld(state, frame) ? state : movePosition(count(changeStates(state, frame), frame), frame)
    default:
      if (!isItem(frame) || isOld(state, frame)) return state
      return movePosition(count(addItem(state, frame), frame), frame)
  }
}

// mark: {as, ids} or {as, upto}. It counts as done until the server answers.
export function beginMark(state, mark) {
  return { ...state, marks: [...state.marks, mark] }
}

export function endMark(state, mark) {
  return { ...state, marks: state.marks.filter((other) => other !== mark) }
}

// The answer to a mark that this page sent. Its `state` frame follows, and moves the position.
export function applyMark(state, { range, ids, ...counts }, mark) {
  const { marks } = endMark(state, mark)
  if (!range) return { ...state, marks }
  const { as, seq, from } = range
  const items = new Map(state.items)
  // Moved out of the archive, an item returns to its earlier state, which only the frame has.
  for (const id of as === "inbox" ? [] : ids) {
    const item = items.get(id)
    // Not the last number: a mark in parts may have changes by others in between.
    if (item?.changedAt < from) items.set(id, { ...item, state: as, changedAt: from })
  }
  if (mark && seq > state.seq) marks.push({ ...mark, seq })
  return count({ ...state, items, marks }, { seq, ...counts })
}

// The item as it will be when the server has done the unconfirmed marks.
export function asMarked(state, item) {
  for (const { as, ids, upto } of state.marks) {
    const isMeant = ids ? ids.includes(item.id) : isUpTo(item, upto)
    if (isMeant && MARKED[as].includes(item.state)) item = { ...item, state: stateAfter(as) }
  }
  return item
}

export function isBroadcast(item) {
  return item.broadcast_seq !== undefined
}

export function movePosition(state, { seq = state.seq, broadcast_seq = state.broadcast_seq }) {
  if (seq <= state.seq && broadcast_seq <= state.broadcast_seq) return state
  const marks = state.marks.filter((mark) => !(mark.seq <= seq))
  return { ...state, marks, seq: Math.max(state.seq, seq), broadcast_seq: Math.max(state.broadcast_seq, broadcast_seq) }
}

/**
 * The server owns the counts; an answer over HTTP may arrive before an older frame.
 *
 * @param state
 * @param {{ seq?: number, broadcast_seq?: number, unread?: number, unread_broadcasts?: number }} frame
 */
export function count(state, { seq = state.seq, broadcast_seq = state.broadcast_seq, unread, unread_broadcasts }) {
  const next = { ...state }
  if (unread !== undefined && seq >= state.unreadAt) {
    next.unread = unread
    next.unreadAt = seq
  }
  const counted = state.unreadBroadcastsAt
  if (unread_broadcasts !== undefined && seq >= counted.seq && broadcast_seq >= counted.broadcast_seq) {
    next.unread_broadcasts = unread_broadcasts
    next.unreadBroadcastsAt = { seq, broadcast_seq }
  }
  return next
}

// Discards the old numbers, but keeps showing the items until a page replaces them.
export function outdate(state, frame) {
  const { seq, broadcast_seq, epoch, scope } = { ...NOWHERE, ...frame }
  return {
    ...state,
    ...NOTHING_PENDING,
    seq,
    broadcast_seq,
    epoch,
    scope,
    unreadAt: NOWHERE.seq,
    unreadBroadcastsAt: NOWHERE,
    generation: state.generation + 1,
    isOutdated: true
  }
}

export function inRange(item, { as, seq, upto }) {
  const isChanged = isUpTo(item, upto) && item.changedAt < seq && MARKED[as]?.includes(item.state)
  return isChanged ? { ...item, state: as, changedAt: seq } : item
}

// Private

export function isItem(frame) {
  return typeof frame?.id === "string" && typeof frame.number === "number"
}

function isSamePosition(state, frame) {
  return ["seq", "broadcast_seq", "epoch", "scope"].every((part) => state[part] === frame[part])
}

function isUpTo(item, upto) {
  return isBroadcast(item) ? item.broadcast_seq <= upto.broadcast_seq : item.changedAt <= upto.seq
}

function stateAfter(mark) {
  return mark === "inbox" ? "read" : mark
}

function register(state, frame) {
  if (frame.resync) return outdate(state, frame)
  if (positionOf(state)) return state
  return movePosition({ ...state, epoch: frame.epoch, scope: frame.scope }, frame)
}

function addItem(state, frame) {
  const { generation } = state
  const held = state.items.get(frame.id)
  const isKnown = held?.generation === generation && !isAbove(frame, held)
  const item = { ...(isKnown ? held : withEarlyState(state, frame)), generation, isAhead: false, isLive: true }
  const items = new Map(state.items)
  const early = new Map(state.early)
  let { unread_broadcasts } = state
  if (frame.replaces) {
    items.delete(frame.replaces)
    remember(early, frame.replaces, { state: "gone", seq: frame.seq })
  }
  if (item.state === "gone") items.delete(item.id)
  else items.set(item.id, item)
  if (item.state === "unread" && frame.broadcast_seq > state.unreadBroadcastsAt.broadcast_seq) unread_broadcasts++
  return { ...state, items, early, unread_broadcasts }
}

function isAbove(frame, held) {
  return isBroadcast(frame) ? frame.broadcast_seq > held.broadcast_seq : changeOf(frame) > held.changedAt
}

// An item sent late has its own number, with the state of a later change.
function changeOf(frame) {
  return frame.changed ?? frame.seq
}

function withEarlyState(state, frame) {
  const item = { ...frame, changedAt: isBroadcast(frame) ? 0 : changeOf(frame) }
  if (isGone(state, frame.id)) return { ...item, state: "gone" }
  const early = state.early.get(frame.id)
  const current = early?.seq > item.changedAt ? { ...item, state: early.state, changedAt: early.seq } : item
  return state.ranges.reduce(inRange, current)
}

function changeStates(state, frame) {
  if (frame.range) return changeRange(state, frame)
  const { ids = [], seq } = frame
  const as = stateAfter(frame.as)
  const items = new Map(state.items)
  const early = new Map(state.early)
  let { unread_broadcasts } = state
  for (const id of ids) {
    const item = items.get(id)
    // After a resync, a page replaces the item, and may be older than this state.
    if (item?.generation !== state.generation || as === "gone") remember(early, id, { state: as, seq })
    if (!item) continue
    if (as === "gone") {
      items.delete(id)
      if (isBroadcast(frame) && item.state === "unread") unread_broadcasts = Math.max(0, unread_broadcasts - 1)
    } else if (!(seq <= item.changedAt)) {
      items.set(id, { ...item, state: as, changedAt: seq ?? item.changedAt })
    }
  }
  return { ...state, items, early, unread_broadcasts }
}

function remember(early, id, change) {
  if (early.get(id)?.state === "gone") return
  early.delete(id)
  early.set(id, change)
  if (early.size > MAX_EARLY_STATES) early.delete(early.keys().next().value)
}

function changeRange(state, frame) {
  const range = { as: stateAfter(frame.as), ...frame.range }
  const items = new Map(state.items)
  for (const [id, item] of items) items.set(id, inRange(item, range))
  return { ...state, items, ranges: [...state.ranges, range].slice(-MAX_RANGES) }
}

// @ts-check
const STORAGE_KEY = "notifications"
const RECENT_MS = 30_000
const MAX_REMEMBERED_IDS = 1000

/**
 * Identifies a notification in all tabs. One without an id is not stored, and has a digest instead.
 *
 * @typedef {{ id: string, digest?: undefined } | { id?: undefined, digest: number }} Key
 */

// Decides which notifications are announced, and where: in every visible tab or, if there is none,
// in the next one to become visible. Never twice, and none that has been read meanwhile.
export class Announcer {
  #visit
  #missed = []
  #waiting = []
  #announced = new Map()
  #announcedElsewhere = new Set()
  #sound
  account
  isUnread
  isLeader
  announce
  share

  // callbacks: isUnread(id); isLeader(); announce(announcements); and share(keys), which sends
  // the other tabs what was announced here.
  constructor({ account, position, sound = "" }, callbacks) {
    Object.assign(this, callbacks, { account })
    this.#visit = recallVisit(account)
    const { epoch, scope } = this.#visit?.seen ?? {}
    if (epoch !== position?.epoch || scope !== position?.scope) this.#visit = null
    if (sound) this.#sound = new Audio(sound)
  }

  start() {
    document.addEventListener("visibilitychange", this.#showWaiting)
  }

  stop() {
    document.removeEventListener("visibilitychange", this.#showWaiting)
  }

  forget() {
    this.#missed = []
    this.#waiting = []
    this.#announced.clear()
  }

  // The position to connect with, so that the server resends what the previous page still showed.
  get resumeFrom() {
    return this.#visit?.resumeFrom
  }

  // wasKnown: the previous page had it. since: when that page announced it, if it still showed it.
  lookUp({ id, seq, broadcast_seq }) {
    if (!this.#visit || id === undefined) return {}
    const { seen: position, shown } = this.#visit
    return { wasKnown: seq <= position.seq || broadcast_seq <= position.broadcast_seq, since: shown[id] }
  }

  add(notification, since, isMissed) {
    if (isMissed) this.#missed.push({ notification, since })
    else this.#take([{ notification, since }])
  }

  // Announces together what arrived while this page was away.
  announceMissed() {
    this.#take(this.#missed.splice(0))
  }

  // Another tab has announced these.
  /** @param {Key[]} keys */
  recordElsewhere(keys) {
    if (this.#announcedElsewhere.size > MAX_REMEMBERED_IDS) this.#announcedElsewhere.clear()
    for (const { id } of keys) if (id !== undefined) this.#announcedElsewhere.add(id)
    // Digests are not remembered: the same text may be sent again.
    const digests = new Set(keys.map(({ digest }) => digest))
    this.#waiting = this.#waiting.filter((one) => {
      const { id, digest } = keyOf(one)
      return id === undefined ? !digests.has(digest) : this.#isAwaited(one)
    })
  }

  /** @param {{ id?: string }} notification */
  recordHidden({ id }) {
    this.#announced.delete(id)
  }

  // One that was never reported as hidden counts as shown only for a short time.
  get announced() {
    return [...this.#announced.values()].filter(this.#isStillShown)
  }

  // For the next page.
  remember(position) {
    const now = Date.now()
    const resumeFrom = { ...position }
    const shown = {}
    for (const { notification, since = now } of [...this.announced, ...this.#waiting.filter(this.#isStillShown)]) {
      shown[notification.id] = since
      for (const name of ["seq", "broadcast_seq"]) {
        if (notification[name] <= resumeFrom[name]) resumeFrom[name] = notification[name] - 1
      }
    }
    rememberVisit({ account: this.account, at: now, resumeFrom, seen: position, shown })
  }

  // Private

  #take(announcements) {
    const pending = this.#pending(announcements)
    if (document.hidden) this.#waiting.push(...pending.filter(this.#isAwaited))
    else this.#show(pending)
    if (this.#sound?.paused && this.isLeader() && pending.some(({ since }) => !since))
      this.#sound.play().catch(() => {})
  }

  #show(pending) {
    if (!pending.length) return
    const announcements = pending.map(({ notification, since = Date.now() }) => ({ notification, since }))
    announcements.forEach(this.#recordAnnounced)
    this.share(announcements.map(keyOf))
    this.announce(announcements)
  }

  #showWaiting = () => {
    if (!document.hidden) this.#show(this.#pending(this.#waiting.splice(0)))
  }

  #pending(announcements) {
    return announcements.filter(({ notification: { id } }) => id === undefined || this.isUnread(id))
  }

  #isStillShown = ({ notification: { id }, since = Date.now() }) =>
    id !== undefined && this.isUnread(id) && Date.now() - since <= RECENT_MS

  #isAwaited = ({ notification: { id } }) => !this.#announcedElsewhere.has(id)

  #recordAnnounced = (announcement) => {
    const { id } = announcement.notification
    if (id !== undefined) this.#announced.set(id, announcement)
  }
}

// What this tab's previous page knew, for the next one to continue from: paying an order loads
// a page, and the notification of the payment must not get lost. Holds numbers and ids only, is
// read once, and expires soon. The names stay the same from release to release, as the two pages
// may have different scripts.

function rememberVisit(visit) {
  try {
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify(visit))
  } catch {
    // No storage, or none left: the next page starts from its own position.
  }
}

function recallVisit(account) {
  try {
    const visit = JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "null")
    sessionStorage.removeItem(STORAGE_KEY)
    const age = Date.now() - visit.at
    return visit.account === account && age >= 0 && age < RECENT_MS ? visit : null
  } catch {
    return null
  }
}

/** @returns {Key} */
function keyOf({ notification }) {
  return notification.id === undefined ? { digest: digestOf(JSON.stringify(notification)) } : { id: notification.id }
}

// 32 bits: only a few are compared at a time.
function digestOf(text) {
  let digest = 0
  for (let i = 0; i < text.length; i++) digest = (Math.imul(digest, 31) + text.charCodeAt(i)) | 0
  return digest
}

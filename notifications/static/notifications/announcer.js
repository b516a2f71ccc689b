// @ts-check
const KEY = "notifications"
const RECENTLY = 30_000 // ms
const REMEMBERED = 1000

// Decides what is announced, and where: in each tab that can be seen, and while there is
// none in the next that can; never twice, and not what was read meanwhile.
export class Announcer {
  #visit
  #missed = []
  #waiting = []
  #announced = new Map()
  #elsewhere = new Set()
  #sound
  account
  isUnread
  isLeader
  announce
  tell

  // callbacks: isUnread(id), isLeader(), announce(announced), and tell(keys), which
  // lets the other tabs know of what was announced here.
  constructor({ account, cursor, sound = "" }, callbacks) {
    Object.assign(this, callbacks, { account })
    this.#visit = recallVisit(account)
    const { epoch, scope } = this.#visit?.seen ?? {}
    if (epoch !== cursor?.epoch || scope !== cursor?.scope) this.#visit = null
    if (sound) this.#sound = new Audio(sound)
    document.addEventListener("visibilitychange", this.#showWaiting)
  }

  // Where the previous page was, so far back that what still stood there will be told again.
  get resumeFrom() {
    return this.#visit?.resumeFrom
  }

  // What the previous page was told of is announced again only if it still stood there.
  lookUp({ id, seq, broadcast_seq }) {
    if (!this.#visit || id === undefined) return {}
    const { seen, shown } = this.#visit
    return { wasSeen: seq <= seen.seq || broadcast_seq <= seen.broadcast_seq, since: shown[id] }
  }

  add(notification, since, isMissed) {
    if (isMissed) this.#missed.push({ notification, since })
    else this.#tell([{ notification, since }])
  }

  // What came while the page was away: told together.
  announceMissed() {
    this.#tell(this.#missed.splice(0))
  }

  hearAnnounced(keys) {
    if (this.#elsewhere.size > REMEMBERED) this.#elsewhere.clear()
    for (const key of keys) this.#elsewhere.add(key)
    this.#waiting = this.#waiting.filter(this.#isAwaited)
    for (const key of keys) if (key.startsWith("{")) this.#elsewhere.delete(key)
  }

  /** @param {{ id?: string }} notification */
  recordHidden({ id }) {
    this.#announced.delete(id)
  }

  // What nobody reported as off show does not count for long.
  remember(cursor) {
    const now = Date.now()
    const resumeFrom = { ...cursor }
    const shown = {}
    for (const { notification, since = now } of [...this.#announced.values(), ...this.#waiting]) {
      const { id } = notification
      if (!id || !this.isUnread(id) || now - since > RECENTLY) continue
      shown[id] = since
      for (const name of ["seq", "broadcast_seq"]) {
        if (notification[name] <= resumeFrom[name]) resumeFrom[name] = notification[name] - 1
      }
    }
    rememberVisit({ account: this.account, at: now, resumeFrom, seen: cursor, shown })
  }

  // Private

  #tell(news) {
    const pending = this.#pending(news)
    if (document.hidden) this.#waiting.push(...pending.filter(this.#isAwaited))
    else this.#show(pending)
    if (this.#sound?.paused && this.isLeader() && pending.some(({ since }) => !since))
      this.#sound.play().catch(() => {})
  }

  #show(pending) {
    if (!pending.length) return
    const announced = pending.map(({ notification, since = Date.now() }) => ({ notification, since }))
    announced.forEach(this.#remember)
    this.tell(announced.map(keyOf))
    this.announce(announced)
  }

  #showWaiting = () => {
    if (!document.hidden) this.#show(this.#pending(this.#waiting.splice(0)))
  }

  #pending(news) {
    return news.filter(({ notification: { id } }) => id === undefined || this.isUnread(id))
  }

  #isAwaited = (one) => !this.#elsewhere.has(keyOf(one))

  #remember = (one) => {
    const { id } = one.notification
    if (id !== undefined) this.#announced.set(id, one)
  }
}

// What this tab knew on its previous page, so that the next one can go on from there:
// the notification of a paid order must not be lost because paying it loads a page.
// Holds numbers and ids only, is read once, and counts for a short time.

function rememberVisit(visit) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(visit))
  } catch {
    // No storage, or none left: the next page starts from its own cursor.
  }
}

function recallVisit(account) {
  try {
    const visit = JSON.parse(sessionStorage.getItem(KEY) ?? "null")
    sessionStorage.removeItem(KEY)
    const age = Date.now() - visit.at
    return visit.account === account && age >= 0 && age < RECENTLY ? visit : null
  } catch {
    return null
  }
}

// One without an id is stored nowhere.
function keyOf({ notification }) {
  return notification.id ?? JSON.stringify(notification)
}

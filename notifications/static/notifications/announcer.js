import { recallVisit, rememberVisit } from "./visits.js";

const ANNOUNCED_FOR = 30_000 // ms; what nobody reported as off show does not count for longer
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

  // tell: lets the other tabs know of what was announced here.
  constructor({ config, isUnread, isLeader, announce, tell }) {
    Object.assign(this, { config, isUnread, isLeader, announce, tell })
    const { account, cursor, sound } = config
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

  recordHidden({ id }) {
    this.#announced.delete(id)
  }

  remember(cursor) {
    const now = Date.now()
    const shown = [...this.#announced.values(), ...this.#waiting].filter(
      ({ notification: { id }, since = now }) => id && this.isUnread(id) && now - since < ANNOUNCED_FOR
    )
    const before = (name) =>
      Math.min(cursor[name], ...shown.map(({ notification }) => notification[name] - 1).filter(Number.isFinite))
    rememberVisit(this.config.account, {
      resumeFrom: { ...cursor, seq: before("seq"), broadcast_seq: before("broadcast_seq") },
      seen: cursor,
      shown: Object.fromEntries(shown.map(({ notification, since = now }) => [notification.id, since]))
    })
  }

  // Private

  #tell(news) {
    const pending = this.#pending(news)
    if (document.visibilityState === "hidden") this.#waiting.push(...pending.filter(this.#isAwaited))
    else this.#show(pending)
    if (this.#sound?.paused && this.isLeader() && pending.some(({ since }) => !since)) this.#sound.play().catch(() => {})
  }

  #show(pending) {
    if (!pending.length) return
    const announced = pending.map(({ notification, since = Date.now() }) => ({ notification, since }))
    announced.forEach(this.#remember)
    this.tell(announced.map(keyOf))
    this.announce(announced)
  }

  #showWaiting = () => {
    if (document.visibilityState !== "hidden") this.#show(this.#pending(this.#waiting.splice(0)))
  }

  #pending(news) {
    return news.filter(({ notification: { id } }) => id === undefined || this.isUnread(id))
  }

  #isAwaited = (one) => !this.#elsewhere.has(keyOf(one))

  #remember = (one) => {
    const { id } = one.notification
    if (id === undefined) return
    for (const [other, { since }] of this.#announced) {
      if (Date.now() - since < ANNOUNCED_FOR) break
      this.#announced.delete(other)
    }
    this.#announced.set(id, one)
  }
}

// One without an id is stored nowhere.
function keyOf({ notification }) {
  return notification.id ?? JSON.stringify(notification)
}

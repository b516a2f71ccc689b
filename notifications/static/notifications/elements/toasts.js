import { AccountElement } from "./parts/element.js";
import { attempt } from "./parts/guard.js";
import { clone, define, eachFrame, fill, setCount } from "./parts/template.js";

const MAX_TOASTS = 3
const DURATIONS_MS = { info: 7000, success: 7000, warning: 14_000, error: 14_000 }
const MIN_DURATION_MS = 2500 // on a further page, or after a pause
const MIN_INTERVAL_MS = 1000 // between toasts; notifications that come faster are only counted
const SUMMARY = "summary"

// Announces new notifications: a few at a time, the others as a count.
//
// A toast with a link stays until it is closed. Closing a toast marks nothing: the
// notification stays in the inbox.
export class NotificationsToasts extends AccountElement {
  #client
  #waiting = []
  #toasts = new Map()
  #isHeld = false
  #cameFrom

  clean() {
    this.removeAttribute("popover") // of the open panel
    this.#stack.replaceChildren()
  }

  join(client, signal) {
    this.#client = client
    client.addEventListener("announce", this.#announce, { signal })
    client.addEventListener("change", this.#render, { signal })
    for (const type of ["pointerenter", "pointerleave", "focusin", "focusout"]) {
      this.addEventListener(type, this.#hold, { signal })
    }
    document.addEventListener("visibilitychange", this.#hold, { signal })
    document.addEventListener("keydown", this.#jump, { signal })
    this.addEventListener("focusin", this.#comeFrom, { signal })
    this.addEventListener("click", this.#click, { signal })
    this.addEventListener("auxclick", this.#click, { signal })
    signal.addEventListener("abort", this.#leave)
    // The previous page may still have shown some.
    if (client.announced.length) this.#announce({ detail: client.announced })
  }

  // Private

  get #stack() {
    return this.querySelector('[data-part="stack"]')
  }

  get #standing() {
    return [...this.#stack.querySelectorAll('[data-part="toast"]:not([data-leaving])')]
  }

  // The toasts of single notifications, oldest first.
  get #single() {
    return [...this.#toasts].filter(([key]) => key !== SUMMARY)
  }

  #leave = () => {
    for (const { timer } of this.#toasts.values()) clearTimeout(timer)
    this.#toasts.clear()
    this.#waiting = []
    this.#isHeld = false
    this.#stack.replaceChildren()
  }

  #announce = ({ detail }) => {
    this.#waiting.push(...detail)
    this.#render()
  }

  #render = eachFrame(this, () => {
    const waiting = this.#waiting.splice(0).filter(({ notification }) => !this.#isRead(notification))
    const shown = this.#isBusy() ? [] : waiting.splice(-MAX_TOASTS)
    if (waiting.length) this.#summarise(waiting)
    for (const { notification, since } of shown) attempt(() => this.#show(notification, since), notification)
    // Read, archived, replaced or removed, on any device.
    for (const [key, { notification }] of this.#single) if (this.#isRead(notification)) this.#dismiss(key)
  })

  // One without an id is not stored, and so can't have been read.
  #isRead({ id }) {
    return id !== undefined && !this.#client.isUnread(id)
  }

  #isBusy() {
    const [[, oldest] = []] = this.#single
    const isFull = this.#single.length >= MAX_TOASTS
    const times = [this.#toasts.get(SUMMARY)?.shownAt, isFull ? oldest?.shownAt : undefined]
    return times.some((at) => performance.now() - at < MIN_INTERVAL_MS)
  }

  #show(notification, since) {
    const replaced = this.#toasts.get(notification.replaces)
    const element = replaced?.element ?? clone("toast")
    const url = fill(element, notification)
    const duration = url ? Infinity : DURATIONS_MS[element.dataset.level]
    const left = Math.min(duration, Math.max(duration - (Date.now() - since), MIN_DURATION_MS))
    if (replaced) {
      this.#forget(notification.replaces)
    } else {
      this.#makeRoom()
      this.#stack.append(element)
    }
    this.#add(notification.id ?? Symbol(notification.type), { element, notification, left })
    this.#hold()
  }

  #summarise(announced) {
    for (const { notification } of announced) this.#client.recordHidden(notification)
    const summary = this.#toasts.get(SUMMARY) ?? { element: clone(SUMMARY), count: 0 }
    const count = summary.count + announced.length
    setCount(summary.element, count)
    if (!summary.count) this.#stack.prepend(summary.element)
    clearTimeout(summary.timer)
    this.#add(SUMMARY, { ...summary, count, left: DURATIONS_MS.warning })
  }

  #add(key, toast) {
    this.#toasts.set(key, { ...toast, shownAt: performance.now() })
    this.#run(key)
  }

  // Toasts that would time out go first.
  #makeRoom() {
    const toasts = this.#single.sort(([, a], [, b]) => (a.left === Infinity) - (b.left === Infinity))
    for (const [key] of toasts.slice(0, Math.max(0, toasts.length - MAX_TOASTS + 1))) this.#dismiss(key)
  }

  #dismiss(key) {
    const toast = this.#toasts.get(key)
    if (!toast) return
    const { element } = toast
    this.#forget(key)
    element.dataset.leaving = ""
    if (element.contains(document.activeElement)) this.#moveFocus(element)
    // The style sheet may have an animation for its end.
    const animations = element.getAnimations?.() ?? []
    Promise.allSettled(animations.map(({ finished }) => finished)).then(() => {
      element.remove()
      this.#hold() // removing an element that was hovered or focused fires no event
    })
  }

  #forget(key) {
    const { timer, notification } = this.#toasts.get(key)
    clearTimeout(timer)
    this.#toasts.delete(key)
    if (notification) this.#client.recordHidden(notification)
  }

  // Time runs only while the toasts are in view, and neither hovered nor focused.

  #hold = () => {
    const isHeld = document.hidden || this.matches(":hover") || this.matches(":focus-within")
    if (isHeld === this.#isHeld) return
    this.#isHeld = isHeld
    for (const key of this.#toasts.keys()) {
      if (isHeld) this.#pause(key)
      else this.#run(key)
    }
  }

  #run(key) {
    const toast = this.#toasts.get(key)
    if (this.#isHeld || toast.left === Infinity) return
    toast.startedAt = performance.now()
    toast.timer = setTimeout(() => this.#dismiss(key), toast.left)
  }

  #pause(key) {
    const toast = this.#toasts.get(key)
    clearTimeout(toast.timer)
    const ran = toast.startedAt === undefined ? 0 : performance.now() - toast.startedAt
    toast.left = Math.max(toast.left - ran, MIN_DURATION_MS)
    toast.startedAt = undefined
  }

  // The keyboard: a key moves the focus to the newest toast, Escape moves it back.

  #jump = (event) => {
    const { key } = event
    const isInside = this.matches(":focus-within")
    const newest = this.#standing.at(-1)
    if (key === this.getAttribute("aria-keyshortcuts") && newest) newest.querySelector("a[href], button").focus()
    else if (key === "Escape" && isInside) this.#goBack()
    else return
    event.preventDefault()
  }

  #comeFrom = ({ relatedTarget }) => {
    if (!this.contains(relatedTarget)) this.#cameFrom = relatedTarget
  }

  #goBack() {
    const place = this.#cameFrom?.isConnected ? this.#cameFrom : document.querySelector('[data-part="bell"]')
    place?.focus()
  }

  // With the keyboard, the next toast gets the focus.
  #moveFocus(element) {
    const standing = this.#standing
    const isAfter = (other) => element.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING
    const next = standing.find(isAfter) ?? standing.at(-1)
    if (next && document.activeElement.matches(":focus-visible")) next.querySelector("button").focus()
    else this.#goBack()
  }

  #click = ({ target, button }) => {
    const element = target.closest('[data-part="toast"]')
    const found = [...this.#toasts].find(([, toast]) => toast.element === element)
    if (!found) return
    const [key, { notification }] = found
    if (target.closest('[data-action="close"]')) return this.#dismiss(key)
    if (!target.closest("a[href]") || button > 1) return
    this.#dismiss(key)
    // Sent on the way out; if that fails, it just stays unread.
    if (notification?.id) this.#client.mark([notification.id], "read").catch(() => {})
  }
}

define("notifications-toasts", NotificationsToasts)

import { connect } from "../client.js";
import { clone, define, eachFrame, fill, setText } from "./template.js";

const MOST_SHOWN = 3
const SHOWN_FOR = { info: 7000, success: 7000, warning: 14_000, error: 14_000 } // ms
const SHOWN_AGAIN_FOR = 2500 // ms, at least, for one that came with the tab from another page
const BURST = 1000 // ms; what comes faster than this is only counted
const SUMMARY = "summary"

// Says what is new, in every open tab: a few at a time, the rest as a number.
// One that leads somewhere stays until it is closed. Closing one marks nothing; the
// notification stays in the inbox.
export class NotificationsToasts extends HTMLElement {
  #client
  #listeners
  #waiting = []
  #toasts = new Map()
  #isHeld = false
  #cameFrom

  connectedCallback() {
    this.#client = connect()
    if (!this.#client) return
    this.#listeners = new AbortController()
    const { signal } = this.#listeners
    this.#client.addEventListener("announce", this.#announce, { signal })
    this.#client.addEventListener("change", this.#render, { signal })
    for (const type of ["pointerenter", "pointerleave", "focusin", "focusout"]) {
      this.addEventListener(type, this.#hold, { signal })
    }
    document.addEventListener("visibilitychange", this.#hold, { signal })
    document.addEventListener("keydown", this.#jump, { signal })
    this.addEventListener("focusin", this.#comeFrom, { signal })
    this.addEventListener("click", this.#click, { signal })
    this.addEventListener("auxclick", this.#click, { signal })
  }

  disconnectedCallback() {
    this.#listeners?.abort()
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

  #announce = ({ detail }) => {
    this.#waiting.push(...detail)
    this.#render()
  }

  #render = eachFrame(() => {
    const waiting = this.#waiting.splice(0).filter(({ notification }) => !this.#isRead(notification))
    const shown = this.#isBusy() ? [] : waiting.splice(-MOST_SHOWN)
    if (waiting.length) this.#summarise(waiting)
    for (const { notification, since } of shown) this.#show(notification, since)
    // Read, archived, replaced or withdrawn, on whichever device.
    for (const [key, { notification }] of this.#single) if (this.#isRead(notification)) this.#dismiss(key)
  })

  // One without an id is stored nowhere, and so can't have been read.
  #isRead({ id }) {
    return id !== undefined && !this.#client.isUnread(id)
  }

  #isBusy() {
    const [[, oldest] = []] = this.#single
    const told = [this.#toasts.get(SUMMARY)?.toldAt, this.#single.length < MOST_SHOWN ? undefined : oldest?.toldAt]
    return told.some((at) => performance.now() - at < BURST)
  }

  #show(notification, since) {
    const replaced = this.#toasts.get(notification.replaces)
    const element = replaced?.element ?? clone("toast")
    const url = fill(element, notification)
    const whole = url ? Infinity : SHOWN_FOR[element.dataset.level]
    const left = Math.min(whole, Math.max(whole - (Date.now() - since), SHOWN_AGAIN_FOR))
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
    if (!summary.count) this.#stack.prepend(summary.element)
    clearTimeout(summary.timer)
    this.#add(SUMMARY, { ...summary, count: summary.count + announced.length, left: SHOWN_FOR.warning })
    setText(summary.element, "count", String(this.#toasts.get(SUMMARY).count))
  }

  #add(key, toast) {
    this.#toasts.set(key, { ...toast, toldAt: performance.now() })
    this.#run(key)
  }

  // Those that would go by themselves go first.
  #makeRoom() {
    const toasts = this.#single.sort(([, a], [, b]) => (a.left === Infinity) - (b.left === Infinity))
    for (const [key] of toasts.slice(0, Math.max(0, toasts.length - MOST_SHOWN + 1))) this.#dismiss(key)
  }

  #dismiss(key) {
    const toast = this.#toasts.get(key)
    if (!toast) return
    const { element } = toast
    this.#forget(key)
    element.dataset.leaving = ""
    if (element.contains(document.activeElement)) this.#moveFocus(element)
    // The style sheet may let it leave; it is gone when that is over.
    const animations = element.getAnimations?.() ?? []
    Promise.allSettled(animations.map(({ finished }) => finished)).then(() => {
      element.remove()
      this.#hold() // no event tells that what was hovered or focused is gone
    })
  }

  #forget(key) {
    const { timer, notification } = this.#toasts.get(key)
    clearTimeout(timer)
    this.#toasts.delete(key)
    if (notification) this.#client.recordHidden(notification)
  }

  // Time runs only while somebody can read, and does not.

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
    toast.left = Math.max(toast.left - ran, SHOWN_AGAIN_FOR)
    toast.startedAt = undefined
  }

  // The keyboard: a key leads to the newest toast, Escape back to where it was.

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

  // From the keyboard, the next one is at hand.
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
    // Told on the way out; if that fails, it just stays unread.
    if (notification?.id) this.#client.mark([notification.id], "read").catch(() => {})
  }
}

define("notifications-toasts", NotificationsToasts)

import { connect } from "../client.js";
import { clone, fill, setText } from "./template.js";

const MOST_SHOWN = 3
const SHOWN_FOR = { info: 7000, success: 7000, warning: 14_000, error: 14_000 } // ms
const SHOWN_AGAIN_FOR = 2500 // ms, at least, for one that came with the tab from another page

// Says what is new, in every open tab: a few at a time, the rest as a number.
// Closing one marks nothing; the notification stays in the inbox.
export class NotificationsToasts extends HTMLElement {
  #client
  #listeners
  #waiting = []
  #frame
  #toasts = new Map()
  #summary
  #isHeld = false

  connectedCallback() {
    this.#client = connect()
    if (!this.#client) return
    this.#listeners = new AbortController()
    const { signal } = this.#listeners
    this.#client.addEventListener("announce", this.#announce, { signal })
    this.#client.addEventListener("change", this.#dismissRead, { signal })
    for (const type of ["pointerenter", "pointerleave", "focusin", "focusout"]) {
      this.addEventListener(type, this.#hold, { signal })
    }
    document.addEventListener("visibilitychange", this.#hold, { signal })
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

  #announce = ({ detail }) => {
    this.#waiting.push(...detail)
    // Once a frame, however many come; a hidden tab has no frames.
    this.#frame ??= document.hidden ? setTimeout(this.#showWaiting) : requestAnimationFrame(this.#showWaiting)
  }

  #showWaiting = () => {
    const waiting = this.#waiting.splice(0)
    this.#frame = undefined
    const summarised = waiting.splice(0, Math.max(0, waiting.length - MOST_SHOWN))
    if (summarised.length) this.#summarise(summarised)
    for (const { notification, since } of waiting) {
      if (notification.id === undefined || this.#client.isUnread(notification.id)) this.#show(notification, since)
    }
  }

  #show(notification, since) {
    const element = clone("toast")
    fill(element, notification)
    const whole = SHOWN_FOR[element.dataset.level]
    const left = Math.min(whole, Math.max(whole - (Date.now() - since), SHOWN_AGAIN_FOR))
    const toast = { element, notification, left }
    this.#makeRoom()
    this.#stack.append(element)
    this.#toasts.set(notification.id ?? Symbol(notification.type), toast)
    this.#hold()
    this.#run(toast)
  }

  #summarise(announced) {
    for (const { notification } of announced) this.#client.recordHidden(notification)
    if (!this.#summary) {
      this.#summary = { element: clone("summary"), count: 0, left: SHOWN_FOR.info }
      this.#toasts.set("summary", this.#summary)
      this.#stack.prepend(this.#summary.element)
      this.#run(this.#summary)
    }
    this.#summary.count += announced.length
    setText(this.#summary.element, "count", String(this.#summary.count))
  }

  #makeRoom() {
    const keys = [...this.#toasts.keys()].filter((key) => key !== "summary")
    for (const key of keys.slice(0, Math.max(0, keys.length - MOST_SHOWN + 1))) this.#dismiss(key)
  }

  // Read, archived, replaced or withdrawn, on whichever device.
  #dismissRead = () => {
    for (const [key, { notification }] of this.#toasts) {
      if (notification?.id && !this.#client.isUnread(notification.id)) this.#dismiss(key)
    }
  }

  #dismiss(key) {
    const toast = this.#toasts.get(key)
    if (!toast) return
    this.#forget(key)
    const { element } = toast
    element.dataset.leaving = ""
    // The style sheet may let it leave; it is gone when that is over.
    const animations = element.getAnimations?.() ?? []
    Promise.allSettled(animations.map(({ finished }) => finished)).then(() => {
      element.remove()
      this.#hold() // no event tells that what was hovered or focused is gone
    })
  }

  #forget(key) {
    const toast = this.#toasts.get(key)
    clearTimeout(toast.timer)
    this.#toasts.delete(key)
    if (toast === this.#summary) this.#summary = undefined
    else this.#client.recordHidden(toast.notification)
  }

  // Time runs only while somebody can read, and does not.

  #hold = () => {
    const isHeld = document.hidden || this.matches(":hover") || this.matches(":focus-within")
    if (isHeld === this.#isHeld) return
    this.#isHeld = isHeld
    for (const toast of this.#toasts.values()) {
      if (isHeld) this.#pause(toast)
      else this.#run(toast)
    }
  }

  #run(toast) {
    if (this.#isHeld) return
    toast.startedAt = performance.now()
    toast.timer = setTimeout(() => this.#dismiss(this.#keyOf(toast)), toast.left)
  }

  #pause(toast) {
    clearTimeout(toast.timer)
    const ran = toast.startedAt === undefined ? 0 : performance.now() - toast.startedAt
    toast.left = Math.max(toast.left - ran, SHOWN_AGAIN_FOR)
    toast.startedAt = undefined
  }

  #keyOf(toast) {
    return [...this.#toasts].find(([, candidate]) => candidate === toast)?.[0]
  }

  #click = ({ target, button, detail }) => {
    const element = target.closest('[data-part="toast"]')
    const found = [...this.#toasts].find(([, toast]) => toast.element === element)
    if (!found) return
    const [key, { notification }] = found
    if (target.closest('[data-action="close"]')) {
      // From the keyboard, the next one is at hand.
      if (detail === 0) (element.nextElementSibling ?? element.previousElementSibling)?.querySelector("button").focus()
      return this.#dismiss(key)
    }
    if (!target.closest("a[href]") || button > 1) return
    this.#dismiss(key)
    // Told on the way out; if that fails, it just stays unread.
    if (notification?.id) this.#client.mark([notification.id], "read").catch(() => {})
  }
}

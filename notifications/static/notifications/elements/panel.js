import { slot } from "./parts/template.js";

const MARGIN = 8 // pixels between the panel and the sides of the window
const MIN_HEIGHT = 320 // pixels; with less space below the bell, the panel may open above it

// The list in a popover, which the bell opens.
export class Panel {
  #bell
  #button
  #element
  #scrim = makeScrim()
  #styled
  #opened

  constructor({ bell, button, element }) {
    this.#bell = bell
    this.#button = button
    this.#element = element
    const styles = element.querySelector('link[rel="stylesheet"]')
    this.#styled = new Promise((resolve) => {
      if (!styles) return resolve()
      styles.onload = styles.onerror = resolve
    })
    element.addEventListener("click", this.#act)
    for (const type of ["click", "auxclick"]) this.#scrim.addEventListener(type, () => this.close())
    bell.append(element)
  }

  get isOpen() {
    return this.#element.matches(":popover-open")
  }

  async open() {
    await this.#styled
    if (this.isOpen || !this.#bell.isConnected) return
    this.#opened = new AbortController()
    const { signal } = this.#opened
    document.addEventListener("focusin", this.#closeOutside, { signal })
    document.addEventListener("keydown", this.#closeWithEscape, { signal })
    addEventListener("resize", this.#place, { signal })
    addEventListener("scroll", this.#place, { passive: true, signal })
    this.#element.before(this.#scrim)
    this.#scrim.showPopover()
    this.#raiseToasts()
    this.#element.showPopover()
    this.#place()
    this.#button.setAttribute("aria-expanded", "true")
    this.#element.focus({ preventScroll: true })
    this.#inbox.load()
  }

  close() {
    this.#opened?.abort()
    this.#inbox.forgetUndo()
    this.#button.setAttribute("aria-expanded", "false")
    if (!this.isOpen) return this.#lowerAll() // or the browser hid it, when the bell left the page
    const { activeElement } = document
    const hadFocus = this.#element.contains(activeElement) || activeElement === document.body
    this.#element.hidePopover()
    if (hadFocus) this.#button.focus({ preventScroll: true })
    // The style sheet may have an animation for its end.
    const animations = this.#element.getAnimations().map(({ finished }) => finished)
    Promise.allSettled(animations).then(() => this.isOpen || this.#lowerAll())
  }

  // “Mark all as read” disappears when everything is read.
  keepFocus(focused) {
    if (this.#element.contains(focused) && focused.closest("[hidden]")) this.#element.focus()
  }

  // Private

  get #inbox() {
    return slot(this.#element, "inbox")
  }

  // Toasts stay above the scrim, and below the panel.
  #raiseToasts() {
    const toasts = document.querySelector("notifications-toasts")
    if (!toasts) return
    toasts.removeAttribute("popover") // a panel that is still closing left them below the scrim
    toasts.popover = "manual"
    toasts.showPopover()
  }

  #lowerAll() {
    this.#scrim.remove()
    document.querySelector("notifications-toasts")?.removeAttribute("popover")
  }

  #act = ({ target }) => {
    if (target.closest('[data-action="close"]')) this.close()
    if (target.closest('[data-action="mark-all"]')) this.#inbox.markAll()
  }

  #closeWithEscape = (event) => {
    if (event.key === "Escape" && !event.defaultPrevented) this.close()
  }

  #closeOutside = ({ target }) => {
    if (!this.#bell.contains(target) && !target.closest?.("notifications-toasts")) this.close()
  }

  // Below or above the bell, aligned with its end, and within the window. On a phone, the style
  // sheet makes the panel a sheet at the bottom.
  #place = () => {
    const { top, bottom, left, right } = this.#button.getBoundingClientRect()
    const isRightToLeft = getComputedStyle(this.#bell).direction === "rtl"
    const { clientWidth, clientHeight } = document.documentElement
    const below = clientHeight - bottom
    const end = isRightToLeft ? left : clientWidth - right
    const max = clientWidth - this.#element.offsetWidth - MARGIN
    const { style, dataset } = this.#element
    dataset.side = below < MIN_HEIGHT && top > below ? "above" : "below"
    style.setProperty("--notifications-panel-top", `${Math.max(0, bottom)}px`)
    style.setProperty("--notifications-panel-bottom", `${Math.max(0, clientHeight - top)}px`)
    style.setProperty("--notifications-panel-end", `${Math.max(MARGIN, Math.min(end, max))}px`)
  }
}

// Lies over the page, so that a tap beside the panel reaches nothing there.
function makeScrim() {
  const scrim = document.createElement("div")
  scrim.dataset.part = "scrim"
  scrim.popover = "manual"
  scrim.style.cssText = "inset: 0; width: 100%; height: 100%; opacity: 0"
  return scrim
}

import { slot } from "./template.js";

const MARGIN = 8 // pixels between the panel and the sides of the window
const ROOM = 320 // pixels; with less below the bell, the panel may go above it

// What the bell opens: the list, in a popover.
export class Panel {
  #bell
  #button
  #element
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
    document.addEventListener("pointerdown", this.#closeOutside, { signal })
    document.addEventListener("focusin", this.#closeOutside, { signal })
    document.addEventListener("keydown", this.#closeWithEscape, { signal })
    addEventListener("resize", this.#place, { signal })
    addEventListener("scroll", this.#place, { passive: true, signal })
    this.#element.showPopover()
    this.#place()
    this.#button.setAttribute("aria-expanded", "true")
    this.#element.focus({ preventScroll: true })
    this.#inbox.load()
  }

  close() {
    if (!this.isOpen) return
    this.#opened.abort()
    const { activeElement } = document
    const hadFocus = this.#element.contains(activeElement) || activeElement === document.body
    this.#inbox.forgetUndo()
    this.#element.hidePopover()
    this.#button.setAttribute("aria-expanded", "false")
    if (hadFocus) this.#button.focus({ preventScroll: true })
  }

  // “Mark all read” goes when it is done.
  keepFocus(focused) {
    if (this.#element.contains(focused) && focused.closest("[hidden]")) this.#element.focus()
  }

  // Private

  get #inbox() {
    return slot(this.#element, "inbox")
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

  // Below the bell or else above it, at its end, and within the window; the style sheet
  // makes a sheet of it on a phone.
  #place = () => {
    const { top, bottom, left, right } = this.#button.getBoundingClientRect()
    const isRightToLeft = getComputedStyle(this.#bell).direction === "rtl"
    const { clientWidth, clientHeight } = document.documentElement
    const below = clientHeight - bottom
    const end = isRightToLeft ? left : clientWidth - right
    const most = clientWidth - this.#element.offsetWidth - MARGIN
    const { style, dataset } = this.#element
    dataset.side = below < ROOM && top > below ? "above" : "below"
    style.setProperty("--notifications-panel-top", `${Math.max(0, bottom)}px`)
    style.setProperty("--notifications-panel-bottom", `${Math.max(0, clientHeight - top)}px`)
    style.setProperty("--notifications-panel-end", `${Math.max(MARGIN, Math.min(end, most))}px`)
  }
}

import { connect } from "../client.js";
import { clone, setText, slot } from "./template.js";

const MOST_SHOWN = 99
const PATIENCE = 2000 // ms without a connection, before it shows
const MARGIN = 8 // pixels between the panel and the sides of the window
const ROOM = 320 // pixels; with less below the bell, the panel may go above it

// The bell with the unread count, and the panel that it opens.
//
// Without JavaScript, or where a browser has no popovers, it stays what the
// server rendered: a link to the inbox page.
export class NotificationsBell extends HTMLElement {
  #client
  #listeners
  #opened
  #button
  #panel
  #losing

  connectedCallback() {
    this.#client = connect()
    if (!this.#client) return
    this.#listeners = new AbortController()
    if (HTMLElement.prototype.showPopover) this.#build()
    const { signal } = this.#listeners
    this.#client.addEventListener("unread", this.#renderCount, { signal })
    this.#client.addEventListener("status", this.#renderStatus, { signal })
    this.#renderCount()
    this.#renderStatus()
  }

  disconnectedCallback() {
    clearTimeout(this.#losing)
    this.#losing = undefined
    this.#opened?.abort()
    this.#listeners?.abort()
  }

  get isOpen() {
    return this.#panel?.matches(":popover-open") ?? false
  }

  open() {
    if (this.isOpen) return
    this.#opened = new AbortController()
    const { signal } = this.#opened
    document.addEventListener("pointerdown", this.#closeOutside, { signal })
    document.addEventListener("focusin", this.#closeOutside, { signal })
    document.addEventListener("keydown", this.#closeWithEscape, { signal })
    addEventListener("resize", this.#place, { signal })
    addEventListener("scroll", this.#place, { passive: true, signal })
    this.#panel.showPopover()
    this.#place()
    this.#button.setAttribute("aria-expanded", "true")
    this.#panel.focus({ preventScroll: true })
    slot(this.#panel, "inbox").load()
  }

  close() {
    if (!this.isOpen) return
    this.#opened.abort()
    const hadFocus = this.#panel.contains(document.activeElement) || document.activeElement === document.body
    this.#panel.hidePopover()
    this.#button.setAttribute("aria-expanded", "false")
    if (hadFocus) this.#button.focus({ preventScroll: true })
  }

  // Private

  #build() {
    const link = this.querySelector('[data-part="bell"]')
    if (!this.#button) {
      const { childNodes } = clone("bell")
      const [button, panel] = [...childNodes].filter((node) => node.nodeType === Node.ELEMENT_NODE)
      this.#button = button
      this.#panel = panel
      const hadFocus = link === document.activeElement
      link.replaceWith(button)
      this.append(panel)
      if (hadFocus) button.focus()
    }
    const { signal } = this.#listeners
    this.#button.addEventListener("click", this.#toggle, { signal })
    this.#panel.addEventListener("click", this.#act, { signal })
  }

  #toggle = () => (this.isOpen ? this.close() : this.open())

  #act = ({ target }) => {
    if (target.closest('[data-action="close"]')) this.close()
    if (target.closest('[data-action="mark-all"]')) slot(this.#panel, "inbox").markAll()
  }

  #closeWithEscape = (event) => {
    if (event.key === "Escape") this.close()
  }

  #closeOutside = ({ target }) => {
    if (!this.contains(target) && !target.closest?.("notifications-toasts")) this.close()
  }

  // Below the bell or else above it, at its end, and within the window; the style sheet
  // makes a sheet of it on a phone.
  #place = () => {
    const { top, bottom, left, right } = this.#button.getBoundingClientRect()
    const isRightToLeft = getComputedStyle(this).direction === "rtl"
    const { clientWidth, clientHeight } = document.documentElement
    const below = clientHeight - bottom
    const end = isRightToLeft ? left : clientWidth - right
    const most = clientWidth - this.#panel.offsetWidth - MARGIN
    const { style, dataset } = this.#panel
    dataset.side = below < ROOM && top > below ? "above" : "below"
    style.setProperty("--notifications-panel-top", `${Math.max(0, bottom)}px`)
    style.setProperty("--notifications-panel-bottom", `${Math.max(0, clientHeight - top)}px`)
    style.setProperty("--notifications-panel-end", `${Math.max(MARGIN, Math.min(end, most))}px`)
  }

  #renderCount = () => {
    const { total } = this.#client.unread
    setText(this, "count", total > MOST_SHOWN ? `${MOST_SHOWN}+` : String(total))
    const focused = document.activeElement
    const hadFocus = this.#panel?.contains(focused)
    for (const element of this.querySelectorAll("[data-when-unread]")) element.hidden = total === 0
    // “Mark all read” goes when it is done.
    if (hadFocus && focused.closest("[hidden]")) this.#panel.focus()
  }

  // Only a loss that lasts is worth a word.
  #renderStatus = () => {
    const { status } = this.#client
    const isSettled = ["online", "paused", "closed"].includes(status)
    if (isSettled) {
      clearTimeout(this.#losing)
      this.#losing = undefined
      this.dataset.status = status
    } else {
      this.#losing ??= setTimeout(() => (this.dataset.status = "offline"), PATIENCE)
    }
  }
}

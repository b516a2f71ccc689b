import { AccountElement } from "./parts/element.js";
import { clone, define, eachFrame, setText, showStatus } from "./parts/template.js";

const MAX_COUNT = 99

// The bell with the unread count, which is also in the title of the tab.
//
// Without JavaScript, or in a browser without popovers, it stays the link to the inbox page
// that the server rendered. The panel is loaded when it is first used.
export class NotificationsBell extends AccountElement {
  #client
  #button
  #element
  #whenUnread
  #loading
  #panel
  #title

  clean() {
    for (const part of this.querySelectorAll('[data-part="panel"], [data-part="scrim"]')) part.remove()
  }

  join(client, signal) {
    this.#client = client
    if (HTMLElement.prototype.showPopover) this.#build(signal)
    // Looked up before the list is there, because a search among thousands of rows is slow.
    const parts = [this, this.#element].filter(Boolean)
    this.#whenUnread = parts.flatMap((part) => [...part.querySelectorAll("[data-when-unread]")])
    client.addEventListener("unread", this.#renderSoon, { signal })
    showStatus(this, client, signal)
    this.#renderCount()
    // Pages that are swapped in may get their title later.
    const titles = new MutationObserver(this.#renderTitle)
    titles.observe(document.head, { childList: true, subtree: true, characterData: true })
    signal.addEventListener("abort", () => {
      titles.disconnect()
      this.close()
      if (document.title === this.#title) document.title = withoutCount(this.#title)
    })
  }

  get isOpen() {
    return this.#panel?.isOpen ?? false
  }

  async open() {
    await this.#load()
    this.#renderCount()
    await this.#panel.open()
  }

  close() {
    this.#panel?.close()
  }

  // Private

  #build(signal) {
    if (!this.#button) {
      const link = this.querySelector('[data-part="bell"]')
      ;[this.#button, this.#element] = clone("bell").children
      const hadFocus = link === document.activeElement
      link.replaceWith(this.#button)
      if (hadFocus) this.#button.focus()
    }
    this.#button.addEventListener("click", this.#toggle, { signal })
    // A pointer on the bell is likely to press it.
    for (const type of ["pointerenter", "focus"]) {
      this.#button.addEventListener(type, () => this.#load().catch(() => {}), { signal })
    }
  }

  #toggle = async () => {
    try {
      this.isOpen ? this.close() : await this.open()
    } catch {
      location.assign(this.#client.config.urls.inbox)
    }
  }

  async #load() {
    this.#loading ??= Promise.all([import("./panel.js"), import("./inbox.js")])
    try {
      const [{ Panel }] = await this.#loading
      this.#panel ??= new Panel({ bell: this, button: this.#button, element: this.#element })
    } catch (error) {
      this.#loading = undefined
      throw error
    }
  }

  get #count() {
    const { total } = this.#client.unread
    return total > MAX_COUNT ? `${MAX_COUNT}+` : String(total)
  }

  #renderCount = () => {
    const { total } = this.#client.unread
    setText(this, "count", this.#count)
    const { activeElement } = document
    for (const element of this.#whenUnread) element.hidden = total === 0
    this.#panel?.keepFocus(activeElement)
    this.#renderTitle()
  }

  #renderTitle = () => {
    const title = withoutCount(document.title)
    this.#title = this.#client.unread.total ? `(${this.#count}) ${title}` : title
    if (document.title !== this.#title) document.title = this.#title
  }

  #renderSoon = eachFrame(this, this.#renderCount)
}

function withoutCount(title) {
  return title.replace(/^\(\d+\+?\) /, "")
}

define("notifications-bell", NotificationsBell)

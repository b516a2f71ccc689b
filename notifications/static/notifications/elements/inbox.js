import { connect } from "../client.js";
import { clone, fill, slot } from "./template.js";
import { fillTime, refreshTime } from "./time.js";

const REFRESH_TIMES = 30_000 // ms
const LOAD_AHEAD = 300 // pixels
const LONG = 200 // characters, and
const LINES = 6 // beyond which the style sheet may cut a body

// A live list of notifications: `<notifications-inbox>`, or with view="unread".
//
// On the inbox page it takes over what the server rendered (`[data-part="content"]`
// inside it); in the bell's panel it starts empty, and waits for `load`.
export class NotificationsInbox extends HTMLElement {
  #client
  #listeners
  #content
  #rows = new Map()
  #isWanted = false
  #isLoading = false
  #failed = new Map()

  connectedCallback() {
    this.#client = connect()
    if (!this.#client) return
    this.#listeners = new AbortController()
    const { signal } = this.#listeners
    this.#client.addEventListener("change", this.#render, { signal })
    this.#client.addEventListener("unread", this.#renderUnread, { signal })
    this.#client.addEventListener("status", this.#reloadOnline, { signal })
    this.addEventListener("click", this.#click, { signal })
    this.addEventListener("auxclick", this.#click, { signal })
    this.addEventListener("submit", this.#submit, { signal })
    document.addEventListener("scroll", this.#scroll, { capture: true, passive: true, signal })
    const timer = setInterval(this.#refreshTimes, REFRESH_TIMES)
    signal.addEventListener("abort", () => clearInterval(timer))
    if (this.querySelector('[data-part="content"]')) this.load()
  }

  disconnectedCallback() {
    this.#listeners?.abort()
  }

  get view() {
    return this.getAttribute("view") ?? "inbox"
  }

  async load() {
    this.#isWanted = true
    if (this.#client) await this.#whileLoading(() => this.#client.load(this.view))
  }

  // Private

  get #list() {
    return this.#content.querySelector('[data-part="list"]')
  }

  #build() {
    this.#content = clone("list")
    const fallback = this.querySelector('[data-part="content"]')
    if (fallback) fallback.replaceWith(this.#content)
    else this.append(this.#content)
  }

  #render = () => {
    if (!this.#isWanted) return
    const isLoaded = this.#client.isLoaded(this.view)
    // What the server rendered stays until there is something to take its place.
    if (!this.#content && (isLoaded || !this.querySelector('[data-part="content"]'))) this.#build()
    if (!this.#content) return
    const items = isLoaded ? this.#client.items(this.view) : []
    this.#renderItems(items)
    this.#toggle("loading", this.#isLoading && items.length === 0)
    this.#toggle("empty", isLoaded && items.length === 0)
    this.#toggle("older", isLoaded && this.#client.hasOlder(this.view))
    slot(this.#content, "older").disabled = this.#isLoading
    this.toggleAttribute("aria-busy", this.#isLoading)
  }

  #renderItems(items) {
    const list = this.#list
    const kept = new Set(items.map(({ id }) => id))
    for (const [id, { element }] of this.#rows) {
      if (kept.has(id)) continue
      this.#keepFocus(element)
      element.remove()
      this.#rows.delete(id)
    }
    let place = list.firstElementChild
    for (const item of items) {
      const element = this.#renderItem(item)
      if (element === place) place = place.nextElementSibling
      else list.insertBefore(element, place)
    }
  }

  #renderItem(item) {
    const row = this.#rows.get(item.id) ?? { element: clone("item") }
    if (row.item === item) return row.element
    const { element } = row
    fill(element, item)
    const body = slot(element, "body")
    const { textContent } = body
    if (textContent.length > LONG || textContent.split("\n").length > LINES) body.title = textContent
    fillTime(slot(element, "time"), item.created_at)
    element.dataset.id = item.id
    element.dataset.state = item.state
    const isUnread = item.state === "unread"
    slot(element, "unread").hidden = !isUnread
    const form = slot(element, "mark")
    if (!isUnread && form.contains(document.activeElement)) element.focus()
    form.hidden = !isUnread
    this.#rows.set(item.id, { element, item })
    return element
  }

  // Focus must not fall out of the page with the row that had it.
  #keepFocus(element) {
    if (!element.contains(document.activeElement)) return
    const neighbour = element.nextElementSibling ?? element.previousElementSibling ?? this.#content
    neighbour.focus()
  }

  #toggle(part, isShown) {
    this.#content.querySelector(`[data-part="${part}"]`).hidden = !isShown
  }

  #renderError() {
    if (this.#content) this.#toggle("error", this.#failed.size > 0)
  }

  #renderUnread = () => {
    for (const element of this.querySelectorAll("[data-when-unread]")) element.hidden = this.#client.unread.total === 0
  }

  #refreshTimes = () => {
    for (const { element } of this.#rows.values()) refreshTime(slot(element, "time"))
  }

  // What people do

  // The link is followed as any other; only that it was is told, on the way out.
  #click = ({ target, button }) => {
    if (target.closest('[data-action="older"]')) return this.#loadOlder()
    if (target.closest('[data-action="retry"]')) return this.#retry()
    const id = target.closest("a[href]")?.closest("[data-id]")?.dataset.id
    if (id && button < 2 && this.#rows.get(id)?.item.state === "unread") this.#mark(id)
  }

  #submit = (event) => {
    if (!this.#content) return // still the server's, which takes the form
    const { action } = event.target.dataset
    if (action !== "mark" && action !== "mark-all") return
    event.preventDefault()
    if (action === "mark-all") this.markAll()
    else this.#mark(event.target.closest("[data-id]").dataset.id)
  }

  markAll() {
    return this.#try("mark", () => this.#client.markAll("read"))
  }

  #mark(id) {
    return this.#try("mark", () => this.#client.mark([id], "read"))
  }

  #loadOlder() {
    return this.#whileLoading(() => this.#client.loadOlder(this.view))
  }

  #retry() {
    const { load, mark } = Object.fromEntries(this.#failed)
    if (load) this.#whileLoading(load)
    if (mark) this.#try("mark", mark)
  }

  // A mark waits to be asked for: there may be more by now than there was to be seen.
  #reloadOnline = ({ detail }) => {
    const load = this.#failed.get("load")
    if (detail === "online" && load) this.#whileLoading(load)
  }

  #scroll = ({ target }) => {
    if (!this.#content || !target.contains(this) || this.#isLoading) return
    const older = slot(this.#content, "older")
    if (!older.offsetParent) return
    const bottom = target === document ? innerHeight : target.getBoundingClientRect().bottom
    if (older.getBoundingClientRect().top < bottom + LOAD_AHEAD) this.#loadOlder()
  }

  async #whileLoading(load) {
    if (this.#isLoading) return
    this.#isLoading = true
    this.#render()
    await this.#try("load", load)
    this.#isLoading = false
    this.#render()
  }

  // kind: "load" or "mark". That one works does not mend the other.
  async #try(kind, action) {
    this.#failed.delete(kind)
    this.#renderError()
    try {
      await action()
    } catch (error) {
      if (error.name !== "ApiError") throw error
      this.#failed.set(kind, action)
      this.#renderError()
    }
  }
}

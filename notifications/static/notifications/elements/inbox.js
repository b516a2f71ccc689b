import { connect } from "../client.js";
import { Rows } from "./rows.js";
import { clone, define, eachFrame, fill, showStatus, slot } from "./template.js";
import { fillTime, refreshTime } from "./time.js";

const REFRESH_TIMES = 30_000 // ms
const LOAD_AHEAD = 300 // pixels
const LONG = 200 // characters, and
const LINES = 6 // beyond which the style sheet may cut a body
const MARKS = { unread: ["read", "archived"], read: ["unread", "archived"], archived: ["inbox"] }
const UNDONE = ["archived", "inbox"] // of single items; the rest is undone by its own button

// A live list of notifications: `<notifications-inbox>`, or with view="unread" or "archived".
//
// On the inbox page it takes over what the server rendered (`[data-part="content"]`
// inside it); in the bell's panel it starts empty, and waits for `load`.
export class NotificationsInbox extends HTMLElement {
  static observedAttributes = ["view"]

  #client
  #listeners
  #content
  #parts
  #whenUnread
  #list
  #rows
  #end
  #undoable
  #focused
  #isWanted = false
  #isLoading = false
  #failed = new Map()

  connectedCallback() {
    this.#client = connect()
    if (!this.#client) return
    this.#listeners = new AbortController()
    const { signal } = this.#listeners
    this.#client.addEventListener("change", this.#renderSoon, { signal })
    this.#client.addEventListener("unread", this.#renderUnreadSoon, { signal })
    this.#client.addEventListener("status", this.#reloadOnline, { signal })
    showStatus(this, this.#client, signal)
    this.addEventListener("click", this.#act, { signal })
    this.addEventListener("click", this.#follow, { signal })
    this.addEventListener("auxclick", this.#follow, { signal })
    this.addEventListener("submit", this.#submit, { signal })
    this.addEventListener("keydown", this.#key, { signal })
    const timer = setInterval(this.#refreshTimes, REFRESH_TIMES)
    signal.addEventListener("abort", () => clearInterval(timer))
    if (this.querySelector('[data-part="content"]')) this.load()
  }

  disconnectedCallback() {
    this.#listeners?.abort()
  }

  attributeChangedCallback() {
    for (const tab of this.querySelectorAll("button[data-view]")) {
      tab.setAttribute("aria-pressed", tab.dataset.view === this.view)
    }
    if (!this.#isWanted) return
    this.#failed.delete("load")
    this.forgetUndo()
    this.load()
  }

  get view() {
    return this.getAttribute("view") ?? "inbox"
  }

  async load() {
    this.#isWanted = true
    if (!this.#client) return
    const { view } = this
    await this.#whileLoading(() => this.#client.load(view))
    if (view !== this.view) await this.load()
  }

  markAll() {
    return this.#mark(() => this.#client.markAll("read"))
  }

  // Private

  // Returns which item had the focus in what the server rendered.
  #build() {
    this.#content = clone("list")
    const fallback = this.querySelector('[data-part="content"]')
    const focused = fallback?.querySelector('[data-part="item"]:focus-within')
    if (fallback) fallback.replaceWith(this.#content)
    else this.append(this.#content)
    const part = (name) => this.#content.querySelector(`[data-part="${name}"]`)
    // Looked up while they are few: among thousands of rows that takes its time.
    this.#parts = {
      loading: part("loading"),
      error: part("error"),
      older: part("older"),
      showOlder: slot(this.#content, "older"),
      empty: slot(this.#content, "empty"),
      undo: slot(this.#content, "undo")
    }
    this.#whenUnread = this.querySelectorAll("[data-when-unread]")
    this.#list = part("list")
    this.#list.addEventListener("contentvisibilityautostatechange", this.#comeIntoSight, { capture: true })
    this.#rows = new Rows(this.#list, { create: () => clone("item"), fill: this.#fillItem })
    const isScrolling = getComputedStyle(this).overflowY === "auto"
    this.#end = new IntersectionObserver(this.#reachEnd, {
      root: isScrolling ? this : null,
      rootMargin: `${LOAD_AHEAD}px`
    })
    this.#renderError()
    this.#renderUnread()
    return focused?.dataset.id
  }

  #render = () => {
    if (!this.#isWanted) return
    const { view } = this
    const isLoaded = this.#client.isLoaded(view)
    // What the server rendered stays until there is something to take its place.
    const isFirst = !this.#content && (isLoaded || !this.querySelector('[data-part="content"]'))
    if (isFirst) this.#focused = this.#build()
    if (!this.#content) return
    const items = isLoaded ? this.#client.items(view) : []
    const isAll = this.#rows.render(items)
    if (!isAll) this.#renderSoon()
    this.#restoreFocus(isAll)
    const { loading, older, showOlder } = this.#parts
    loading.hidden = !this.#isLoading || items.length > 0
    older.hidden = !isLoaded || !this.#client.hasOlder(view)
    showOlder.ariaDisabled = this.#isLoading // disabled it would lose the focus
    this.#renderEmpty(isLoaded && items.length === 0)
    this.setAttribute("aria-busy", this.#isLoading)
  }

  // To the row of what had it in what the server rendered, as soon as there is one.
  #restoreFocus(isAll) {
    if (this.#focused && document.activeElement === document.body) this.#rows.focus(this.#focused)
    if (isAll) this.#focused = undefined
  }

  #renderEmpty(isEmpty) {
    const { empty } = this.#parts
    empty.hidden = !isEmpty
    if (!isEmpty || empty.dataset.view === this.view) return
    empty.dataset.view = this.view
    empty.replaceChildren(clone(`empty-${this.view}`))
  }

  #renderSoon = eachFrame(this.#render)

  #fillItem = (element, item) => {
    fill(element, item)
    const body = slot(element, "body")
    const { textContent } = body
    if (textContent.length > LONG || textContent.split("\n").length > LINES) body.title = textContent
    fillTime(slot(element, "time"), item.created_at, this.#client.now())
    element.dataset.state = item.state
    slot(element, "unread")?.toggleAttribute("hidden", item.state !== "unread")
    for (const button of element.querySelectorAll('[data-action="mark"]')) {
      const isPossible = MARKS[item.state].includes(button.dataset.as)
      if (!isPossible && button === document.activeElement) element.focus()
      button.hidden = !isPossible
    }
  }

  #renderError() {
    if (!this.#content) return
    const { error } = this.#parts
    for (const text of error.querySelectorAll("[data-failed]")) text.hidden = !this.#failed.has(text.dataset.failed)
    error.hidden = this.#failed.size === 0
  }

  #renderUnread = () => {
    const isHidden = this.#client.unread.total === 0
    for (const element of this.#whenUnread ?? []) {
      if (isHidden && element.contains(document.activeElement)) this.#content.focus()
      element.hidden = isHidden
    }
  }

  #renderUnreadSoon = eachFrame(this.#renderUnread)

  #refreshTimes = () => {
    for (const batch of this.#list?.children ?? []) this.#refreshTimesIn(batch)
  }

  // Out of sight they wait until they come into it.

  #comeIntoSight = ({ target }) => this.#refreshTimesIn(target)

  #refreshTimesIn(batch) {
    if (batch.firstElementChild?.checkVisibility?.({ contentVisibilityAuto: true }) === false) return
    const now = this.#client.now()
    for (const element of batch.querySelectorAll('[data-slot="time"]')) refreshTime(element, now)
  }

  // What people do

  #act = ({ target }) => {
    const tab = target.closest("button[data-view]")
    if (tab) return this.setAttribute("view", tab.dataset.view)
    const { action, as } = target.closest("[data-action]:not(form)")?.dataset ?? {}
    switch (action) {
      case "mark": {
        const { id } = target.closest("[data-id]").dataset
        return this.#mark(() => this.#client.mark([id], as), UNDONE.includes(as))
      }
      case "older":
        return this.#loadOlder()
      case "retry":
        return this.#retry()
      case "undo":
        return this.#undo()
    }
  }

  // The link is followed as any other; only that it was is told, on the way out.
  #follow = ({ target, button }) => {
    const id = target.closest("a[href]")?.closest("[data-id]")?.dataset.id
    if (id && button < 2 && this.#rows?.item(id)?.state === "unread") this.#mark(() => this.#client.mark([id], "read"))
  }

  #submit = (event) => {
    if (!this.#content || event.target.dataset.action !== "mark-all") return // for the server to take
    event.preventDefault()
    this.markAll()
  }

  #key = (event) => {
    if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || !this.#undoable) return
    event.preventDefault()
    this.#undo()
  }

  // The client shows it at once, and takes it back when the server says no.
  async #mark(mark, isUndoable = true) {
    this.forgetUndo()
    const answer = await this.#try("mark", mark)
    if (answer?.range && isUndoable) this.#offerUndo(answer.range)
  }

  #offerUndo(range) {
    this.#undoable = range
    const { undo } = this.#parts
    for (const text of undo.querySelectorAll("[data-done]")) text.hidden = text.dataset.done !== range.as
    undo.hidden = false
  }

  forgetUndo() {
    this.#undoable = undefined
    if (!this.#content) return
    const { undo } = this.#parts
    if (undo.contains(document.activeElement)) this.#content.focus()
    undo.hidden = true
  }

  #undo() {
    const range = this.#undoable
    this.forgetUndo()
    return this.#try("mark", () => this.#client.undo(range))
  }

  #retry() {
    const { load, mark } = Object.fromEntries(this.#failed)
    this.#content.focus() // the button goes
    if (load) this.#whileLoading(load)
    if (mark) this.#try("mark", mark)
  }

  // A mark waits to be asked for: there may be more by now than there was to be seen.
  #reloadOnline = ({ detail }) => {
    const load = this.#failed.get("load")
    if (detail === "online" && load) this.#whileLoading(load)
  }

  // Loading

  async #loadOlder() {
    const { last } = this.#rows
    await this.#whileLoading(() => this.#client.loadOlder(this.view))
    // From the keyboard, what was loaded comes next.
    if (this.#parts.showOlder === document.activeElement && last) this.#rows.after(last)?.focus()
  }

  #reachEnd = (entries) => {
    if (entries.at(-1).isIntersecting && !this.#failed.has("load")) this.#loadOlder()
  }

  async #whileLoading(load) {
    if (this.#isLoading) return
    this.#isLoading = true
    this.#render()
    await this.#try("load", load)
    this.#isLoading = false
    this.#render()
    if (this.#content) this.#watchEnd()
  }

  // Observed anew it is told again, also if it never left.
  #watchEnd() {
    this.#end.disconnect()
    this.#end.observe(this.#parts.older)
  }

  // kind: "load" or "mark". That one works does not mend the other.
  async #try(kind, action) {
    this.#failed.delete(kind)
    this.#renderError()
    try {
      return await action()
    } catch (error) {
      if (error.name !== "ApiError") throw error
      this.#failed.set(kind, action)
      this.#renderError()
    }
  }
}

define("notifications-inbox", NotificationsInbox)

import { AccountElement } from "./parts/element.js";
import { Rows } from "./parts/rows.js";
import { clone, define, eachFrame, fill, showStatus, slot } from "./parts/template.js";
import { fillTime, refreshTime } from "./parts/time.js";

const TIMES_INTERVAL_MS = 30_000
const LOAD_AHEAD = 300 // pixels
// The style sheet may cut off a body that is longer than this.
const MAX_CHARACTERS = 200
const MAX_LINES = 6
const MARKS = { unread: ["read", "archived"], read: ["unread", "archived"], archived: ["inbox"] }
const UNDOABLE = ["archived", "inbox"] // the other marks of single items have a button that reverses them

// A live list of notifications: `<notifications-inbox>`, or with folder="unread" or "archived".
//
// On the inbox page it replaces the `[data-part="content"]` that the server rendered. In the
// bell's panel it starts empty, and waits for `load`.
export class NotificationsInbox extends AccountElement {
  static observedAttributes = ["folder"]

  #client
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

  clean() {
    this.querySelector('[data-part="content"][data-live]')?.replaceChildren()
  }

  join(client, signal) {
    this.#client = client
    client.addEventListener("change", this.#renderSoon, { signal })
    client.addEventListener("unread", this.#renderUnreadSoon, { signal })
    client.addEventListener("status", this.#reloadOnline, { signal })
    showStatus(this, client, signal)
    this.addEventListener("click", this.#act, { signal })
    this.addEventListener("click", this.#follow, { signal })
    this.addEventListener("auxclick", this.#follow, { signal })
    this.addEventListener("submit", this.#submit, { signal })
    this.addEventListener("keydown", this.#key, { signal })
    const timer = setInterval(this.#refreshTimes, TIMES_INTERVAL_MS)
    signal.addEventListener("abort", () => {
      clearInterval(timer)
      this.#end?.disconnect()
    })
    if (this.querySelector('[data-part="content"]')) this.load()
  }

  attributeChangedCallback() {
    for (const tab of this.querySelectorAll("button[data-folder]")) {
      tab.setAttribute("aria-pressed", tab.dataset.folder === this.folder)
    }
    if (!this.#isWanted) return
    this.#failed.delete("load")
    this.forgetUndo()
    this.load()
  }

  get folder() {
    return this.getAttribute("folder") ?? "inbox"
  }

  async load() {
    this.#isWanted = true
    if (!this.#client) return
    const { folder } = this
    await this.#whileLoading(() => this.#client.load(folder))
    if (folder !== this.folder) await this.load()
  }

  markAll() {
    return this.#mark(() => this.#client.markAll("read"))
  }

  // Private

  #build() {
    this.#content = clone("list")
    this.#content.dataset.live = ""
    const part = (name) => this.#content.querySelector(`[data-part="${name}"]`)
    // Looked up before the list is there, because a search among thousands of rows is slow.
    this.#parts = {
      loading: part("loading"),
      error: part("error"),
      older: part("older"),
      showOlder: slot(this.#content, "older"),
      empty: slot(this.#content, "empty"),
      undo: slot(this.#content, "undo")
    }
    this.#list = part("list")
    this.#list.addEventListener("contentvisibilityautostatechange", this.#comeIntoSight, { capture: true })
    this.#rows = new Rows(this.#list, { create: () => clone("item"), fill: this.#fillItem })
    const isScrolling = getComputedStyle(this).overflowY === "auto"
    this.#end =
      globalThis.IntersectionObserver &&
      new IntersectionObserver(this.#reachEnd, {
        root: isScrolling ? this : null,
        rootMargin: `${LOAD_AHEAD}px`
      })
    this.#renderError()
  }

  // Puts the list in the place of what the server rendered, whose focused item it remembers.
  #putInPlace() {
    const fallback = this.querySelector('[data-part="content"]')
    this.#focused = fallback?.querySelector('[data-part="item"]:focus-within')?.dataset.id
    if (fallback) fallback.replaceWith(this.#content)
    else this.append(this.#content)
    this.#whenUnread = this.querySelectorAll("[data-when-unread]")
    this.#renderUnread()
  }

  #render = () => {
    if (!this.#isWanted) return
    const { folder } = this
    const isLoaded = this.#client.isLoaded(folder)
    // The server-rendered list stays until there is something to replace it, or its account has gone.
    const isOver = this.#client.status === "logged_out"
    const isFirst = !this.contains(this.#content ?? null)
    const isAlone = isFirst && !this.querySelector('[data-part="content"]')
    if (!this.#content && (isLoaded || isOver || isAlone)) this.#build()
    if (!this.#content) return
    const items = isLoaded ? this.#client.items(folder) : []
    const isAll = this.#rows.render(items)
    if (!isAll) this.#renderSoon()
    if (isFirst && (isAlone || !items.length || this.#rows.last)) this.#putInPlace()
    this.#restoreFocus(isAll)
    const { loading, older, showOlder } = this.#parts
    loading.hidden = !this.#isLoading || items.length > 0
    older.hidden = !isLoaded || !this.#client.hasOlder(folder)
    showOlder.setAttribute("aria-disabled", this.#isLoading) // `disabled` would take the focus away
    this.#renderEmpty(isLoaded && items.length === 0)
    this.setAttribute("aria-busy", this.#isLoading)
  }

  // Returns the focus to the row of the server-rendered item that had it, once that row exists.
  #restoreFocus(isAll) {
    if (this.#focused && document.activeElement === document.body) this.#rows.focus(this.#focused)
    if (isAll) this.#focused = undefined
  }

  #renderEmpty(isEmpty) {
    const { empty } = this.#parts
    empty.hidden = !isEmpty
    if (!isEmpty || empty.dataset.folder === this.folder) return
    empty.dataset.folder = this.folder
    empty.replaceChildren(clone(`empty-${this.folder}`))
  }

  #renderSoon = eachFrame(this, this.#render)

  #fillItem = (element, item) => {
    fill(element, item)
    const body = slot(element, "body")
    const { textContent } = body
    const isLong = textContent.length > MAX_CHARACTERS || textContent.split("\n").length > MAX_LINES
    if (isLong) body.title = textContent
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

  #renderUnreadSoon = eachFrame(this, this.#renderUnread)

  #refreshTimes = () => {
    for (const batch of this.#list?.children ?? []) this.#refreshTimesIn(batch)
  }

  // Times out of sight are refreshed when they come into view.

  #comeIntoSight = ({ target }) => this.#refreshTimesIn(target)

  #refreshTimesIn(batch) {
    if (batch.firstElementChild?.checkVisibility?.({ contentVisibilityAuto: true }) === false) return
    const now = this.#client.now()
    for (const element of batch.querySelectorAll('[data-slot="time"]')) refreshTime(element, now)
  }

  // Actions

  #act = ({ target }) => {
    const tab = target.closest("button[data-folder]")
    if (tab) return this.setAttribute("folder", tab.dataset.folder)
    const { action, as } = target.closest("[data-action]:not(form)")?.dataset ?? {}
    switch (action) {
      case "mark": {
        const { id } = target.closest("[data-id]").dataset
        return this.#mark(() => this.#client.mark([id], as), UNDOABLE.includes(as))
      }
      case "older":
        return this.#loadOlder()
      case "retry":
        return this.#retry()
      case "undo":
        return this.#undo()
      case "reload":
        return location.reload()
    }
  }

  // The browser follows the link; the item is marked as read on the way out.
  #follow = ({ target, button }) => {
    const id = target.closest("a[href]")?.closest("[data-id]")?.dataset.id
    if (id && button < 2 && this.#rows?.item(id)?.state === "unread") this.#mark(() => this.#client.mark([id], "read"))
  }

  #submit = (event) => {
    if (!this.#content || event.target.dataset.action !== "mark-all") return // the server handles it
    event.preventDefault()
    this.markAll()
  }

  #key = (event) => {
    if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || !this.#undoable) return
    event.preventDefault()
    this.#undo()
  }

  // The client shows the mark at once, and reverts it if the server fails.
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
    this.#content.focus() // the button disappears
    if (load) this.#whileLoading(load)
    if (mark) this.#try("mark", mark)
  }

  // A failed mark is not repeated unasked: it could mark items that arrived meanwhile.
  #reloadOnline = ({ detail }) => {
    const load = this.#failed.get("load")
    if (detail === "online" && load) this.#whileLoading(load)
  }

  // Loading

  async #loadOlder() {
    const { last } = this.#rows
    await this.#whileLoading(() => this.#client.loadOlder(this.folder))
    // With the keyboard, the first loaded item comes next.
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
    if (this.#content && this.isConnected) this.#watchEnd()
  }

  // Observing it again reports it again, even if it never left the view.
  #watchEnd() {
    this.#end?.disconnect()
    this.#end?.observe(this.#parts.older)
  }

  // kind: "load" or "mark". Each has its own failure.
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

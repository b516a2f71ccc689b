import { Batches } from "./batches.js";

// In one go, as the page has other things to do, but one row at least:
const MOST_MADE = 20 // rows, which the browser lays out after it
const LONGEST = 8 // ms, of filling those that are there

// Keeps the rows of a list in step with items, and the focus among them.
export class Rows {
  #list
  #batches
  #create
  #fill
  #rows = new Map()

  // create() makes a row's element, fill(element, item) shows an item in it.
  constructor(list, { create, fill }) {
    this.#list = list
    this.#batches = new Batches(list)
    this.#create = create
    this.#fill = fill
  }

  item(id) {
    return this.#rows.get(id)?.item
  }

  get last() {
    return this.#batches.last
  }

  after(row) {
    return this.#batches.after(row)
  }

  focus(id) {
    this.#rows.get(id)?.element.focus()
  }

  // Returns whether that was all: if not, it is to be called again.
  render(items) {
    this.#removeAllBut(new Set(items.map(({ id }) => id)))
    const most = this.#rows.size + MOST_MADE
    const end = performance.now() + LONGEST
    let isFirst = true
    let isAll = true
    let place = this.#batches.first
    for (const item of items) {
      if (this.item(item.id) !== item) {
        if (isFirst || (this.#rows.size < most && performance.now() < end)) this.#renderRow(item)
        else isAll = false
        isFirst = false
      }
      const element = this.#rows.get(item.id)?.element
      if (!element) continue
      if (element === place) place = this.#batches.after(place)
      else this.#batches.insert(element, place)
    }
    return isAll
  }

  // Private

  #removeAllBut(kept) {
    for (const [id, { element }] of this.#rows) {
      if (kept.has(id)) continue
      this.#keepFocus(element)
      this.#batches.remove(element)
      this.#rows.delete(id)
    }
  }

  #renderRow(item) {
    const { element } = this.#rows.get(item.id) ?? { element: this.#create() }
    element.dataset.id = item.id
    this.#fill(element, item)
    this.#rows.set(item.id, { element, item })
  }

  // Focus must not fall out of the page with the row that had it.
  #keepFocus(element) {
    if (!element.contains(document.activeElement)) return
    const neighbour = this.#batches.after(element) ?? this.#batches.before(element)
    ;(neighbour ?? this.#list.closest("[tabindex]")).focus()
  }
}

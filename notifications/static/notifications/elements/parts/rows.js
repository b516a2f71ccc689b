import { Batches } from "./batches.js";
import { attempt } from "./guard.js";

// Limits of one call of `render`, which fills at least one row.
const MAX_NEW_ROWS = 20
const MAX_DURATION_MS = 8

// Keeps the rows of a list in step with items, and the focus among them.
export class Rows {
  #list
  #batches
  #create
  #fill
  #rows = new Map()

  // create() makes a row's element, fill(element, item) shows an item in it.
  // Where these fail, there is no row.
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
    this.#rows.get(id)?.element?.focus()
  }

  // Returns whether all rows are up to date; if not, call it again.
  render(items) {
    this.#removeAllBut(new Set(items.map(({ id }) => id)))
    const maxSize = this.#rows.size + MAX_NEW_ROWS
    const end = performance.now() + MAX_DURATION_MS
    let isFirst = true
    let isAll = true
    let place = this.#batches.first
    for (const item of items) {
      const next = place && this.#batches.after(place)
      if (this.item(item.id) !== item) {
        if (isFirst || (this.#rows.size < maxSize && performance.now() < end)) this.#renderRow(item)
        else isAll = false
        isFirst = false
      }
      const element = this.#rows.get(item.id)?.element
      if (place && !place.parentElement) place = next // its row failed, and is gone
      if (!element) continue
      if (element === place) place = next
      else this.#batches.insert(element, place)
    }
    return isAll
  }

  // Private

  #removeAllBut(kept) {
    for (const [id, { element }] of this.#rows) {
      if (kept.has(id)) continue
      if (element) this.#remove(element)
      this.#rows.delete(id)
    }
  }

  #renderRow(item) {
    let element = this.#rows.get(item.id)?.element
    const isShown = attempt(() => {
      const row = element ?? this.#create()
      row.dataset.id = item.id
      this.#fill(row, item)
      element = row
    }, item)
    if (!isShown && element) this.#remove(element)
    this.#rows.set(item.id, { element: isShown ? element : undefined, item })
  }

  #remove(element) {
    this.#keepFocus(element)
    this.#batches.remove(element)
  }

  // The focus must not be lost with the row that had it.
  #keepFocus(element) {
    if (!element.contains(document.activeElement)) return
    const neighbour = this.#batches.after(element) ?? this.#batches.before(element)
    ;(neighbour ?? this.#list.closest("[tabindex]")).focus()
  }
}

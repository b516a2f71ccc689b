const MOST_AT_ONCE = 30 // rows made or filled in one go: longer, and the page would not answer

// Keeps the children of a list in step with items, and the focus among them.
export class Rows {
  #list
  #create
  #fill
  #rows = new Map()

  // create() makes a row's element, fill(element, item, before) shows an item in it.
  constructor(list, { create, fill }) {
    this.#list = list
    this.#create = create
    this.#fill = fill
  }

  item(id) {
    return this.#rows.get(id)?.item
  }

  focus(id) {
    this.#rows.get(id)?.element.focus()
  }

  // Returns whether that was all: if not, it is to be called again.
  render(items) {
    this.#removeAllBut(new Set(items.map(({ id }) => id)))
    let place = this.#list.firstElementChild
    let rendered = 0
    for (const item of items) {
      if (this.item(item.id) !== item && rendered++ < MOST_AT_ONCE) this.#renderRow(item)
      const element = this.#rows.get(item.id)?.element
      if (element === place) place = place?.nextElementSibling
      else if (element) this.#list.insertBefore(element, place)
    }
    return rendered <= MOST_AT_ONCE
  }

  // Private

  #removeAllBut(kept) {
    for (const [id, { element }] of this.#rows) {
      if (kept.has(id)) continue
      this.#keepFocus(element)
      element.remove()
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
    const neighbour = element.nextElementSibling ?? element.previousElementSibling
    ;(neighbour ?? this.#list.closest("[tabindex]")).focus()
  }
}

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

  render(items) {
    this.#removeAllBut(new Set(items.map(({ id }) => id)))
    let place = this.#list.firstElementChild
    for (const item of items) {
      const element = this.#renderRow(item)
      if (element === place) place = place.nextElementSibling
      else this.#list.insertBefore(element, place)
    }
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
    const row = this.#rows.get(item.id) ?? { element: this.#create() }
    if (row.item !== item) {
      row.element.dataset.id = item.id
      this.#fill(row.element, item)
      this.#rows.set(item.id, { ...row, item })
    }
    return row.element
  }

  // Focus must not fall out of the page with the row that had it.
  #keepFocus(element) {
    if (!element.contains(document.activeElement)) return
    const neighbour = element.nextElementSibling ?? element.previousElementSibling
    ;(neighbour ?? this.#list.closest("[tabindex]")).focus()
  }
}

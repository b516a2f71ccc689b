const SIZE = 20 // rows

// The rows of a list, in batches that the browser leaves out of its work while they are out of
// sight: what it does for every frame grows with their number, not with that of the rows.
export class Batches {
  #list

  constructor(list) {
    this.#list = list
  }

  get first() {
    return this.#list.firstElementChild?.firstElementChild
  }

  get last() {
    return this.#list.lastElementChild?.lastElementChild
  }

  after(row) {
    return row.nextElementSibling ?? row.parentElement.nextElementSibling?.firstElementChild
  }

  before(row) {
    return row.previousElementSibling ?? row.parentElement.previousElementSibling?.lastElementChild
  }

  // Without a place, as the last one.
  insert(row, place) {
    const left = row.parentElement
    const batch = this.#batchAt(place)
    batch.insertBefore(row, place?.parentElement === batch ? place : null)
    this.#update(batch)
    if (left) this.#update(left)
  }

  remove(row) {
    const batch = row.parentElement
    row.remove()
    this.#update(batch)
  }

  // Private

  // Between two batches there is room in one of them, or for a new one.
  #batchAt(place) {
    if (place?.previousElementSibling) return place.parentElement
    const next = place?.parentElement
    const previous = next ? next.previousElementSibling : this.#list.lastElementChild
    const roomy = [previous, next].find((batch) => batch?.childElementCount < SIZE)
    if (roomy) return roomy
    const batch = document.createElement("div")
    batch.dataset.part = "batch"
    this.#list.insertBefore(batch, next ?? null)
    return batch
  }

  #update(batch) {
    if (!batch.firstElementChild) return batch.remove()
    batch.style.setProperty("--notifications-batch", batch.childElementCount)
  }
}

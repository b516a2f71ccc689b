const BATCH_SIZE = 20 // rows

// The rows of a list, in batches. The browser skips those that are out of sight, so that its
// work for every frame grows with the number of batches, not of rows.
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

  // Before the row `place`, or as the last one.
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

  // Between two batches, this is the one that has room, or a new one.
  #batchAt(place) {
    if (place?.previousElementSibling) return place.parentElement
    const next = place?.parentElement
    const previous = next ? next.previousElementSibling : this.#list.lastElementChild
    const roomy = [previous, next].find((batch) => batch?.childElementCount < BATCH_SIZE)
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

// @ts-check
const MAX_WAIT_MS = 10_000 // for an answer, before the next mark is sent

// Sends marks one after the other, because two at once may arrive in either order.
export class MarkQueue {
  #send
  #waiting = []
  #isSending = false

  // send(mark): returns a promise of the answer
  constructor(send) {
    this.#send = send
  }

  // Returns a promise of the answer.
  add(mark) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ mark, resolve, reject })
      if (!this.#isSending) this.#run()
    })
  }

  // Sends at once all that wait: the page is being left.
  flush() {
    const later = new Set()
    for (const waiting of this.#waiting.splice(0).reverse()) {
      const { mark } = waiting
      // Only an item's last mark counts, so these requests may arrive in any order.
      const ids = mark.ids?.filter((id) => !later.has(id))
      for (const id of ids ?? []) later.add(id)
      if (ids?.length === 0) waiting.resolve({ range: null, ids })
      else this.#answer({ ...waiting, mark: ids ? { ...mark, ids } : mark })
    }
  }

  // Private

  async #run() {
    this.#isSending = true
    while (this.#waiting.length) {
      const answered = this.#answer(this.#waiting.shift())
      await Promise.race([answered, new Promise((resolve) => setTimeout(resolve, MAX_WAIT_MS))])
    }
    this.#isSending = false
  }

  #answer({ mark, resolve, reject }) {
    return this.#send(mark).then(resolve, reject)
  }
}

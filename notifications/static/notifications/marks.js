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

  // Sends at once all that wait, in one request, which keeps their order: the page is being left.
  flush() {
    const waiting = this.#waiting.splice(0)
    // Release 0.2.0, which a deploy may still run, takes a single one only.
    if (waiting.length === 1) this.#answer(waiting.shift())
    if (!waiting.length) return
    const all = this.#send({ marks: waiting.map(({ mark }) => mark) })
    for (const [i, { resolve, reject }] of waiting.entries()) all.then(({ answers }) => resolve(answers[i]), reject)
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

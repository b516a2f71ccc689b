// @ts-check

// Elects one of the tabs that share a name: the one that holds the lock of that name.
export class Election {
  name
  onElected
  onDeposed

  #candidacy

  // Callbacks: onElected(), and onDeposed() when another tab took over; it stands again by then.
  constructor(name, callbacks) {
    Object.assign(this, callbacks, { name })
  }

  start() {
    if (!this.#candidacy) this.#stand()
  }

  stop() {
    this.#candidacy?.abort()
    this.#candidacy = undefined
  }

  // Takes the lock away from a tab that hangs.
  takeOver() {
    this.stop()
    this.#stand(true)
  }

  // Private

  async #stand(steal = false) {
    const candidacy = new AbortController()
    const { signal } = candidacy
    this.#candidacy = candidacy
    const hold = () =>
      new Promise((release) => {
        if (signal.aborted) return release(undefined)
        signal.addEventListener("abort", release)
        this.onElected()
      })
    try {
      await navigator.locks.request(this.name, steal ? { steal } : { signal }, hold)
    } catch (error) {
      if (error.name !== "AbortError") throw error
      if (signal.aborted) return
      this.#stand()
      this.onDeposed()
    }
  }
}

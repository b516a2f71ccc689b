import { AccountElement } from "./parts/element.js";
import { Rows } from "./parts/rows.js";
import { clone, define, eachFrame, fill, slot } from "./parts/template.js";

const MAX_BANNERS = 3
const FOLDER = "important"

// Broadcasts of level warning or error, until they are read on any device.
//
// Their toasts announce new ones. Without JavaScript the server renders them.
export class NotificationsBanner extends AccountElement {
  #client
  #rows

  clean() {
    for (const batch of this.querySelectorAll('[data-part="batch"]')) batch.remove()
  }

  join(client, signal) {
    this.#client = client
    const styles = this.querySelector('link[rel="stylesheet"]')
    if (styles) styles.disabled = false
    this.#rows ??= new Rows(slot(this, "banners"), { create: () => clone("banner"), fill })
    client.addEventListener("change", this.#render, { signal })
    this.addEventListener("click", this.#act, { signal })
    this.addEventListener("click", this.#follow, { signal })
    this.addEventListener("auxclick", this.#follow, { signal })
    this.addEventListener("submit", this.#submit, { signal })
    this.#load()
  }

  // Private

  // If this fails, the server-rendered banners stay, and work, unless their account has gone.
  async #load() {
    try {
      await this.#client.load(FOLDER)
      this.#render()
    } catch (error) {
      if (error.name !== "ApiError") throw error
      if (this.#isOver) this.#render()
    }
  }

  #render = eachFrame(this, () => {
    if (!this.#client.isLoaded(FOLDER) && !this.#isOver) return this.#load()
    const items = this.#client.items(FOLDER).slice(0, MAX_BANNERS)
    const fallback = [...this.querySelectorAll("[data-fallback]")]
    for (const element of fallback) element.remove()
    const isAll = this.#rows.render(items)
    if (!isAll) this.#render()
    // The server's stay until there is one to replace them.
    if (items.length && !this.#rows.last) slot(this, "banners").append(...fallback)
  })

  get #isOver() {
    return this.#client.status === "logged_out"
  }

  #act = ({ target }) => {
    if (target.closest('[data-action="mark"]')) this.#dismiss(target.closest("[data-id]"))
  }

  // The form of a server-rendered banner.
  #submit = (event) => {
    event.preventDefault()
    this.#dismiss(event.target.closest("[data-id]"))
  }

  #follow = ({ target, button }) => {
    if (target.closest("a[href]") && button < 2) this.#dismiss(target.closest("[data-id]"))
  }

  async #dismiss({ dataset: { id } }) {
    const error = this.querySelector('[data-part="error"]')
    error.hidden = true
    try {
      await this.#client.mark([id], "read")
    } catch (problem) {
      if (problem.name !== "ApiError") throw problem
      error.hidden = false
    }
  }
}

define("notifications-banner", NotificationsBanner)

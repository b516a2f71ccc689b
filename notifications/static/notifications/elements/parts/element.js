import { connect } from "../../client.js";
import { onSwap } from "../../page.js";

const joined = new Set()

// What shows something of the account's, from when it joins the page until it leaves.
//
// An element that was kept while another page was swapped in starts anew, as a copy without any
// state: if it was moved there, for another account only; if it stayed in place, always, since
// its content may be the other page's. A copy of what a script rendered may also come from a
// cache. So `clean` removes that first.
export class AccountElement extends HTMLElement {
  #client
  #config
  #listeners

  connectedCallback() {
    if (!this.isConnected) return // removed again, with an element that contains it
    if (!this.#client) this.clean()
    // Where nobody is logged in, one that was kept shows that its client has ended.
    const client = connect() ?? this.#client
    if (!client) return
    if (this.#client && this.#client !== client) return this.#startAnew()
    this.#client = client
    this.#config = client.config
    this.#listeners = new AbortController()
    joined.add(this)
    this.join(client, this.#listeners.signal)
  }

  disconnectedCallback() {
    joined.delete(this)
    this.#listeners?.abort()
  }

  // For subclasses: removes what a script rendered.
  clean() {}

  // For subclasses: joins the page. The signal is aborted when the element leaves it.
  join(_client, _signal) {}

  // Private

  #startAnew() {
    this.replaceWith(this.cloneNode(true))
  }

  static {
    onSwap(() => {
      const config = connect()?.config
      for (const element of joined) if (config && element.#config !== config) element.#startAnew()
    })
  }
}

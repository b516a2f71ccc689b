// @ts-check
export class ApiError extends Error {
  constructor(status) {
    super(`The inbox answered ${status || "nothing that can be read"}`)
    this.name = "ApiError"
    this.status = status // 0: no answer, or one that is not ours
  }
}

// The inbox over HTTP.
export class Api {
  #skew = 0

  constructor(config) {
    this.config = config
  }

  // By the server's clock, in ms: this computer's may be a day off.
  now() {
    return Date.now() + this.#skew
  }

  items({ before, view }) {
    return this.#get(this.config.urls.items, { before, [view]: view === "inbox" ? undefined : 1 })
  }

  // Passes on what happened since the cursor, as the socket would have told it.
  async catchUp(cursor, receive) {
    for (let more = true; more && cursor(); ) {
      const { frames, unread, unread_broadcasts, ...head } = await this.#get(this.config.urls.changes, cursor())
      if (head.resync) receive({ ...head, type: "resync" })
      frames.forEach(receive)
      more = head.more
      // The counts are those of the end.
      receive({ ...head, type: "heartbeat", ...(more ? {} : { unread, unread_broadcasts }) })
    }
  }

  // mark: {ids, as}, {upto, as} or {undo}. `keepalive`: it is sent even when the page is left now.
  mark(mark) {
    return this.#fetch(this.config.urls.mark, {
      method: "POST",
      keepalive: true,
      headers: { "Content-Type": "application/json", "X-CSRFToken": this.config.csrf_token },
      body: JSON.stringify(mark)
    })
  }

  // Private

  #get(address, params) {
    return this.#fetch(withParams(address, params), { cache: "no-store" })
  }

  // Whoever stands in between may answer in our place, as the log-in pages of public networks do.
  async #fetch(url, { headers = {}, ...options }) {
    let response
    let answer
    try {
      response = await fetch(url, {
        credentials: "same-origin",
        redirect: "error",
        headers: { ...headers, "X-Notifications-Account": this.config.account },
        ...options
      })
      answer = await response.json()
    } catch {
      throw new ApiError(0)
    }
    if (!response.ok) throw new ApiError(response.status)
    if (answer.now) this.#skew = Date.parse(answer.now) - Date.now()
    return answer
  }
}

export function withParams(address, params) {
  const url = new URL(address, location.href)
  for (const name in params) if (params[name] !== undefined) url.searchParams.set(name, params[name])
  return url
}

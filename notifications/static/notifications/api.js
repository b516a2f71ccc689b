// @ts-check
export class ApiError extends Error {
  constructor(status) {
    super(status ? `The inbox answered with status ${status}` : "The inbox did not answer")
    this.name = "ApiError"
    this.status = status // 0: no answer, or none from the site
  }
}

// The inbox over HTTP.
export class Api {
  #skew = 0
  #hasEnded = false

  constructor(config) {
    this.config = config
  }

  // Sends nothing more, and gives no more answers.
  end() {
    this.#hasEnded = true
  }

  // By the server's clock, in ms: this computer's clock may be a day off.
  now() {
    return Date.now() + this.#skew
  }

  items({ before, folder }) {
    return this.#get(this.config.urls.items, { before, [folder]: folder === "inbox" ? undefined : 1 })
  }

  // Passes on the changes since the position, as frames like those of the WebSocket.
  async catchUp(position, receive) {
    for (let more = true; more && position(); ) {
      const { frames, unread, unread_broadcasts, ...reached } = await this.#get(this.config.urls.changes, position())
      if (reached.resync) receive({ ...reached, type: "resync" })
      frames.forEach(receive)
      more = reached.more
      // The counts are only right once nothing is missing.
      receive({ ...reached, type: "heartbeat", ...(more ? {} : { unread, unread_broadcasts }) })
    }
  }

  // mark: {ids, as}, {upto, as} or {undo}. `keepalive`: it is sent even if the page is being left.
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

  // Another server may answer instead of the site, such as the log-in page of a public network.
  async #fetch(url, { headers = {}, ...options }) {
    let response
    let answer
    const send = () => {
      if (this.#hasEnded) throw new ApiError(401)
      return fetch(url, {
        credentials: "same-origin",
        redirect: "error",
        headers: { ...headers, "X-Notifications-Account": this.config.account },
        ...options
      })
    }
    try {
      response = await send()
      for (let tries = 1; response.status === 503 && tries < 3; tries++) {
        const seconds = Math.min(Number(response.headers.get("Retry-After")) || 1, 5)
        await new Promise((resolve) => setTimeout(resolve, seconds * (1000 + Math.random() * 500)))
        response = await send()
      }
      answer = await response.json()
    } catch {
      throw new ApiError(this.#hasEnded ? 401 : 0)
    }
    if (this.#hasEnded) throw new ApiError(401)
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

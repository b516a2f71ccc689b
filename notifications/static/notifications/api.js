// @ts-check
const MAX_TRIES = 3 // while the site is busy
const MAX_RETRY_DELAY_MS = 5000

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
  async #fetch(url, options) {
    let response
    let answer
    if (this.#hasEnded) throw new ApiError(401)
    try {
      response = await this.#send(url, options)
      for (let tries = 1; tries < MAX_TRIES && isBusy(response); tries++) {
        await new Promise((resolve) => setTimeout(resolve, retryDelay(response)))
        response = await this.#send(url, options)
      }
      answer = await response.json()
    } catch {
      throw new ApiError(0)
    }
    if (this.#hasEnded) throw new ApiError(401)
    if (!response.ok) throw new ApiError(response.status)
    if (answer.now) this.#skew = Date.parse(answer.now) - Date.now()
    return answer
  }

  #send(url, { headers = {}, ...options }) {
    return fetch(url, {
      credentials: "same-origin",
      redirect: "error",
      headers: { ...headers, "X-Notifications-Account": this.config.account },
      ...options
    })
  }
}

// Too many requests are at work: nothing was done.
function isBusy({ status, headers }) {
  return status === 503 && headers.has("Retry-After")
}

// In ms. A bit more than was asked for, so that what was refused together is not repeated together.
function retryDelay({ headers }) {
  const seconds = Number(headers.get("Retry-After")) || 1 // it may be a date
  return Math.min(seconds * 1000, MAX_RETRY_DELAY_MS) * (1 + Math.random() / 2)
}

export function withParams(address, params) {
  const url = new URL(address, location.href)
  for (const name in params) if (params[name] !== undefined) url.searchParams.set(name, params[name])
  return url
}

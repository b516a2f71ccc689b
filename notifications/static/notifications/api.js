export class ApiError extends Error {
  constructor(status) {
    super(`The inbox answered ${status || "nothing that can be read"}`)
    this.name = "ApiError"
    this.status = status // 0: no answer, or one that is not ours
  }
}

// The inbox over HTTP.
export class Api {
  constructor({ urls, csrf_token }) {
    this.urls = urls
    this.csrfToken = csrf_token
  }

  items({ before, unread = false }) {
    const url = new URL(this.urls.items, location.href)
    if (before) url.searchParams.set("before", before)
    if (unread) url.searchParams.set("unread", "1")
    return this.#fetch(url, { cache: "no-store" })
  }

  mark(ids, as) {
    return this.#post({ ids, as })
  }

  markAll({ seq, broadcast_seq }, as) {
    return this.#post({ upto: { seq, broadcast_seq }, as })
  }

  // Private

  // `keepalive`: it is sent even when the page is left at this very moment.
  #post(body) {
    return this.#fetch(this.urls.mark, {
      method: "POST",
      keepalive: true,
      headers: { "Content-Type": "application/json", "X-CSRFToken": this.csrfToken },
      body: JSON.stringify(body)
    })
  }

  async #fetch(url, options) {
    let response
    try {
      response = await fetch(url, { credentials: "same-origin", ...options })
    } catch {
      throw new ApiError(0)
    }
    if (!response.ok) throw new ApiError(response.status)
    try {
      return await response.json()
    } catch {
      throw new ApiError(0)
    }
  }
}

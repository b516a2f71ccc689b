// What the elements share: cloning the page's templates, filling their slots with text, and
// showing the status of the connection.

const OFFLINE_DELAY_MS = 2000 // shorter interruptions don't show
const pluralRules = inLanguage("PluralRules")
const LEVELS = ["info", "success", "warning", "error"]

export function define(name, element) {
  if (!customElements.get(name)) customElements.define(name, element)
}

export function clone(name) {
  const template = document.querySelector(`template[data-notifications="${name}"]`)
  return template.content.firstElementChild.cloneNode(true)
}

// One of Intl's formats, in the page's language; in the browser's if it refuses that ("en_US", "C"),
// or none.
export function inLanguage(name, options) {
  for (const language of [document.documentElement.lang || undefined, undefined]) {
    try {
      return new Intl[name](language, options)
    } catch {}
  }
  return undefined
}

export function slot(element, name) {
  return element.querySelector(`[data-slot="${name}"]`)
}

export function setText(element, name, text) {
  const target = slot(element, name)
  if (target && target.textContent !== text) target.textContent = text
}

// Shows the count, with the text whose plural form suits it.
export function setCount(element, count) {
  const text = slot(element, "text")
  const form = (name) => element.querySelector(`template[data-plural="${name}"]`)
  const chosen = form(pluralRules?.select(count)) ?? form("other")
  if (chosen && text.dataset.plural !== chosen.dataset.plural) {
    text.dataset.plural = chosen.dataset.plural
    text.replaceChildren(chosen.content.cloneNode(true))
  }
  setText(element, "count", String(count))
}

// Fills what an item, a toast and a banner have in common. Returns the URL of its link.
export function fill(element, notification) {
  const level = LEVELS.includes(notification.level) ? notification.level : LEVELS[0]
  element.dataset.level = level
  element.dataset.type = notification.type
  const icon = slot(element, "level")
  if (icon && icon.dataset.level !== level) icon.replaceWith(clone(`level-${level}`))
  setText(element, "body", String(notification.content?.body ?? ""))
  const link = slot(element, "link")
  const url = safeUrl(notification.url)
  if (url) link.setAttribute("href", url)
  else link.removeAttribute("href")
  return url
}

// The URL if it is http(s) or a path on this site, otherwise "". The server has checked it,
// unless the row is older than the check, or bypassed it.
export function safeUrl(url) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: browsers drop these, or read them as others
  if (typeof url !== "string" || /[\u0000-\u0020\u007f-\u009f\u2028\u2029\\]/.test(url)) return ""
  if (url.startsWith("/")) return url.startsWith("//") ? "" : url
  try {
    return /^https?:\/\/[^/]/i.test(url) && new URL(url) ? url : ""
  } catch {
    return ""
  }
}

// Renders at most once per animation frame, however often it is called, while the element is on
// the page. Hidden tabs have no frames.
export function eachFrame(element, render) {
  let isWaiting = false
  const run = () => {
    isWaiting = false
    if (element.isConnected) render()
  }
  return () => {
    if (isWaiting) return
    isWaiting = true
    document.hidden ? setTimeout(run) : requestAnimationFrame(run)
  }
}

// Keeps an element's data-status up to date.
export function showStatus(element, client, signal) {
  let timer

  const render = () => {
    const isInterrupted = ["connecting", "recovering", "offline"].includes(client.status)
    if (isInterrupted) {
      timer ??= setTimeout(() => (element.dataset.status = "offline"), OFFLINE_DELAY_MS)
    } else {
      timer = clearTimeout(timer)
      element.dataset.status = client.status
    }
  }

  client.addEventListener("status", render, { signal })
  signal.addEventListener("abort", () => clearTimeout(timer))
  render()
}

// What the elements share: cloning the page's templates, filling their slots with text, and
// showing how the connection is.

const PATIENCE = 2000 // ms without a connection, before it shows
const LEVELS = ["info", "success", "warning", "error"]

export function define(name, element) {
  if (!customElements.get(name)) customElements.define(name, element)
}

export function clone(name) {
  const template = document.querySelector(`template[data-notifications="${name}"]`)
  return template.content.firstElementChild.cloneNode(true)
}

export function slot(element, name) {
  return element.querySelector(`[data-slot="${name}"]`)
}

export function setText(element, name, text) {
  const target = slot(element, name)
  if (target && target.textContent !== text) target.textContent = text
}

// What an item, a toast and a banner have in common. Returns the address that it leads to.
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

// The address if it is http(s) or a path on this site, otherwise nothing. The server checks
// it as well; here because a row can be older than the check, or written past it.
export function safeUrl(url) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what browsers drop or read as others
  if (typeof url !== "string" || /[\u0000-\u0020\u007f-\u009f\u2028\u2029\\]/.test(url)) return ""
  if (url.startsWith("/")) return url.startsWith("//") ? "" : url
  return /^https?:\/\/[^/]/i.test(url) && URL.canParse(url) ? url : ""
}

// Once a frame, however often it is asked for; a hidden tab has no frames.
export function eachFrame(render) {
  let isWaiting = false
  const run = () => {
    isWaiting = false
    render()
  }
  return () => {
    if (isWaiting) return
    isWaiting = true
    document.hidden ? setTimeout(run) : requestAnimationFrame(run)
  }
}

// Keeps data-status of an element: only a loss that lasts is worth a word.
export function showStatus(element, client, signal) {
  let losing

  const render = () => {
    const isLosing = ["connecting", "recovering", "offline"].includes(client.status)
    if (isLosing) {
      losing ??= setTimeout(() => (element.dataset.status = "offline"), PATIENCE)
    } else {
      losing = clearTimeout(losing)
      element.dataset.status = client.status
    }
  }

  client.addEventListener("status", render, { signal })
  signal.addEventListener("abort", () => clearTimeout(losing))
  render()
}

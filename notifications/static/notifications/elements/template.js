// Cloning the page's templates, and filling their slots with text.

const LEVELS = ["info", "success", "warning", "error"]

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

// What the item and the toast have in common.
export function fill(element, notification) {
  const level = LEVELS.includes(notification.level) ? notification.level : LEVELS[0]
  element.dataset.level = level
  element.dataset.type = notification.type
  slot(element, "icon")?.setAttribute("href", `#notifications-icon-${level}`)
  setText(element, "body", String(notification.content?.body ?? ""))
  const link = slot(element, "link")
  const url = safeUrl(notification.url)
  if (url) link.setAttribute("href", url)
  else link.removeAttribute("href")
}

// The address if it is http(s) or a path on this site, otherwise nothing. The server checks
// it as well; here because a row can be older than the check, or written past it.
export function safeUrl(url) {
  if (typeof url !== "string" || /[\u0000-\u0020\u007f-\u009f\u2028\u2029\\]/.test(url)) return ""
  if (url.startsWith("/")) return url.startsWith("//") ? "" : url
  return /^https?:\/\/[^/]/i.test(url) && URL.canParse(url) ? url : ""
}

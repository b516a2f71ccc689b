// Ages in words, in the language of the page.

import { language } from "./template.js";

// In seconds
const UNITS = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60]
]

const relativeFormat = new Intl.RelativeTimeFormat(language, { numeric: "auto" })
const fullFormat = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" })

// now: ms since 1970, by the server's clock
export function fillTime(element, isoTime, now) {
  const date = new Date(isoTime)
  if (!element || Number.isNaN(date.getTime())) return
  element.dateTime = isoTime
  element.title = fullFormat.format(date)
  refreshTime(element, now)
}

export function refreshTime(element, now) {
  const seconds = Math.max(0, (now - new Date(element.dateTime)) / 1000)
  const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? []
  const text = unit ? relativeFormat.format(-Math.trunc(seconds / length), unit) : justNow(element)
  if (element.textContent !== text) element.textContent = text
}

// The template has the words; a site's own template may leave them out.
function justNow({ dataset }) {
  return dataset.now ?? relativeFormat.format(0, "second")
}

import { inLanguage } from "./template.js";

// Ages in words, in the language of the page.

// In seconds
const UNITS = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60]
]

const relativeFormat = inLanguage("RelativeTimeFormat", { numeric: "auto" })
const fullFormat = inLanguage("DateTimeFormat", { dateStyle: "medium", timeStyle: "short" })

// now: ms since 1970, by the server's clock
export function fillTime(element, isoTime, now) {
  const time = Date.parse(isoTime)
  if (!element || Number.isNaN(time)) return
  element.dateTime = isoTime
  element.title = fullFormat?.format(time) ?? isoTime
  refreshTime(element, now)
}

export function refreshTime(element, now) {
  const seconds = Math.max(0, (now - new Date(element.dateTime)) / 1000)
  const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? []
  const age = () => relativeFormat?.format(-Math.trunc(seconds / length), unit) ?? element.title
  const text = unit ? age() : justNow(element)
  if (element.textContent !== text) element.textContent = text
}

// The template has the words; a site's own template may leave them out.
function justNow({ dataset, title }) {
  return dataset.now ?? relativeFormat?.format(0, "second") ?? title
}

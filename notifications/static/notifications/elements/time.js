// Times in words, in the language of the page.

const STEPS = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60]
]

const language = document.documentElement.lang || undefined
const relativeFormat = new Intl.RelativeTimeFormat(language, { numeric: "auto" })
const fullFormat = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" })

// now: ms since the epoch, by the clock that the time was taken with
export function fillTime(element, isoTime, now) {
  const date = new Date(isoTime)
  if (!element || Number.isNaN(date.getTime())) return
  element.dateTime = isoTime
  element.title = fullFormat.format(date)
  refreshTime(element, now)
}

export function refreshTime(element, now) {
  const seconds = Math.max(0, (now - new Date(element.dateTime)) / 1000)
  const [unit, length] = STEPS.find(([, length]) => seconds >= length) ?? ["second", Infinity]
  const text = relativeFormat.format(-Math.trunc(seconds / length), unit)
  if (element.textContent !== text) element.textContent = text
}

// Times in words, in the language of the page.

const STEPS = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60]
]

export function fillTime(element, isoTime) {
  const date = new Date(isoTime)
  if (!element || Number.isNaN(date.getTime())) return
  element.dateTime = isoTime
  element.title = date.toLocaleString(language(), { dateStyle: "medium", timeStyle: "short" })
  refreshTime(element)
}

export function refreshTime(element) {
  const text = relative(new Date(element.dateTime))
  if (element.textContent !== text) element.textContent = text
}

function relative(date) {
  const seconds = Math.min(0, (date.getTime() - Date.now()) / 1000)
  const format = new Intl.RelativeTimeFormat(language(), { numeric: "auto" })
  const [unit, length] = STEPS.find(([, length]) => -seconds >= length) ?? ["second", Infinity]
  return format.format(Math.trunc(seconds / length), unit)
}

function language() {
  return document.documentElement.lang || undefined
}

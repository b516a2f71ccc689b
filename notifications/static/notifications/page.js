// @ts-check
// The page's configuration, which the template tags render where somebody is logged in.
//
// Turbo, htmx and the like put another page in this one's place without loading it. That page may
// be another account's, or nobody's.

const listeners = new Set()
let text
let config = null

// The configuration of the page that is shown now; the same object until there is another.
export function readConfig() {
  const found = document.getElementById("notifications-config")?.textContent
  if (found !== text) {
    text = found
    config = found ? JSON.parse(found) : null
  }
  return config
}

// Calls back whenever the page has another configuration, before the browser draws it.
export function onSwap(listener) {
  if (!listeners.size) watch()
  listeners.add(listener)
}

function watch() {
  let known = readConfig()
  new MutationObserver(() => {
    const before = known
    known = readConfig()
    if (known !== before) for (const listener of listeners) listener()
  }).observe(document, { childList: true, subtree: true, characterData: true })
}

// What this tab knew on its previous page, so that the next one can go on from there:
// the notification of a paid order must not be lost because paying it loads a page.
// Holds numbers and ids only, is read once, and counts for a short time.

const KEY = "notifications"
const VALID_FOR = 30_000 // ms

export function rememberVisit(account, visit) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ ...visit, account, at: Date.now() }))
  } catch {
    // No storage, or none left: the next page starts from its own cursor.
  }
}

export function recallVisit(account) {
  try {
    const visit = JSON.parse(sessionStorage.getItem(KEY))
    sessionStorage.removeItem(KEY)
    const age = Date.now() - visit?.at
    return visit?.account === account && age >= 0 && age < VALID_FOR ? visit : null
  } catch {
    return null
  }
}

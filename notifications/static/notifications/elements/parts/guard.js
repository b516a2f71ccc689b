let hasWarned = false

// Does what concerns one notification only, which must not take the others with it. Returns
// whether it worked; the console has the first error.
export function attempt(action, notification) {
  try {
    action()
    return true
  } catch (error) {
    if (!hasWarned) console.warn("A notification could not be shown", notification?.id, error)
    hasWarned = true
    return false
  }
}

const PATIENCE = 2000 // ms without a connection, before it shows

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

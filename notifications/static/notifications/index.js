import { connect, NotificationsClient } from "./client.js";
import "./elements/bell.js";
import "./elements/toasts.js";
import { onSwap } from "./page.js";

export { connect, NotificationsClient }

// Only some pages show these. The bell loads the list when its panel is opened.
function loadOthers() {
  const client = connect()
  if (document.querySelector("notifications-inbox")) import("./elements/inbox.js")
  client?.addEventListener("unread", loadBanner)
  loadBanner()
}

function loadBanner() {
  const isNeeded = connect()?.unread.unread_broadcasts && document.querySelector("notifications-banner")
  if (isNeeded) import("./elements/banner.js")
}

onSwap(loadOthers)
loadOthers()

import { connect, NotificationsClient } from "./client.js";
import "./elements/bell.js";
import "./elements/toasts.js";

export { connect, NotificationsClient }

const client = connect()

// Only some pages show these. The bell loads the list when its panel is opened.
if (document.querySelector("notifications-inbox")) import("./elements/inbox.js")
if (document.querySelector("notifications-banner")) {
  client?.addEventListener("unread", loadBanner)
  loadBanner()
}

function loadBanner() {
  if (client?.unread.unread_broadcasts) import("./elements/banner.js")
}

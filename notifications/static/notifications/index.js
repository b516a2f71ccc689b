import { connect, NotificationsClient } from "./client.js";
import { NotificationsBell } from "./elements/bell.js";
import { NotificationsInbox } from "./elements/inbox.js";
import { NotificationsToasts } from "./elements/toasts.js";

export { connect, NotificationsClient }

const ELEMENTS = {
  "notifications-bell": NotificationsBell,
  "notifications-inbox": NotificationsInbox,
  "notifications-toasts": NotificationsToasts
}

for (const [name, element] of Object.entries(ELEMENTS)) {
  if (!customElements.get(name)) customElements.define(name, element)
}

connect()

import { connect, NotificationsClient } from "./client.js";
import { NotificationsBell } from "./elements/bell.js";
import { define } from "./elements/template.js";
import { NotificationsToasts } from "./elements/toasts.js";

export { connect, NotificationsClient }

define("notifications-bell", NotificationsBell)
define("notifications-toasts", NotificationsToasts)
connect()

// What only some pages show; the panel of the bell brings the list when it is opened.
if (document.querySelector("notifications-inbox")) import("./elements/inbox.js")
if (document.querySelector("notifications-banner")) import("./elements/banner.js")

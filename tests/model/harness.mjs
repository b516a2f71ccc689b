// Runs one real client per tab. Its environment (sockets, responses, and the user's actions) is
// controlled by lines of JSON. Nothing happens on its own.
import { createInterface } from "node:readline"

const tabs = new Map()
let current // the active tab

class ModelSocket extends EventTarget {
  static CONNECTING = 0
  static OPEN = 1
  readyState = 1

  constructor(url) {
    super()
    current.socket = this
    current.events.push({ type: "opened", query: url.search.slice(1) })
  }

  send() {}

  close() {
    if (this.readyState !== 1) return
    this.readyState = 3
    if (current.socket === this) current.socket = null
    current.events.push({ type: "closed" })
  }
}

Object.assign(globalThis, {
  WebSocket: ModelSocket,
  fetch: (url, { method = "GET", body }) => {
    const tab = current
    return new Promise((resolve, reject) => {
      tab.requests.push({ resolve, reject })
      const { pathname, search } = new URL(url, location.href)
      tab.events.push({ type: "requested", method, path: pathname + search, body })
    })
  },
  setTimeout: () => 0,
  clearTimeout: () => {},
  setInterval: () => 0,
  clearInterval: () => {},
  addEventListener: () => {},
  removeEventListener: () => {},
  document: Object.assign(new EventTarget(), { visibilityState: "visible" }),
  location: new URL("http://testserver/"),
  BroadcastChannel: undefined, // each tab has its own browser
  sessionStorage: { getItem: () => null, setItem: () => {}, removeItem: () => {} }
})

const { NotificationsClient } = await import(`${process.argv[2]}/client.js`)

const actions = {
  open(tab, config) {
    tab.client?.stop()
    tab.requests = []
    tab.client = new NotificationsClient(config)
    tab.client.addEventListener("notification", ({ detail: { id, number, content } }) =>
      tab.events.push({ type: "notified", id, number, body: content.body })
    )
    tab.client.addEventListener("announce", ({ detail }) => {
      for (const { notification } of detail) tab.events.push({ type: "announced", id: notification.id })
    })
  },
  // Timers do not run here: what a client would do after a while, it does when it starts again.
  connect: ({ client }) => {
    client.stop()
    client.start()
  },
  cut: (tab, code) => {
    const socket = tab.socket
    if (!socket) return
    socket.readyState = 3
    tab.socket = null
    socket.dispatchEvent(Object.assign(new Event("close"), { code }))
  },
  receive: (tab, data) => tab.socket?.dispatchEvent(Object.assign(new Event("message"), { data })),
  answer(tab, { status, body }) {
    const request = tab.requests.shift()
    if (status) request.resolve({ ok: status === 200, status, json: async () => JSON.parse(body) })
    else request.reject(new TypeError("Failed to fetch"))
  },
  load: (tab, folder) => tab.client.load(folder),
  loadOlder: (tab, folder) => tab.client.loadOlder(folder),
  // A mark may be sent later, when those before it have been answered.
  mark: (tab, [ids, as]) => {
    tab.events.push({ type: "marked", ids, as })
    return tab.client.mark(ids, as)
  },
  markAll: (tab, as) => {
    tab.events.push({ type: "marked", as })
    return tab.client.markAll(as)
  },
  look: () => {}
}

function state({ client }) {
  const list = (name) => client.items(name).map(({ id, state }) => [id, state])
  const folders = ["inbox", "unread"]
  return {
    inbox: list("inbox"),
    unread: list("unread"),
    loaded: folders.filter((name) => client.isLoaded(name)),
    older: folders.filter((name) => client.hasOlder(name)),
    counts: [client.unread.unread, client.unread.unread_broadcasts],
    status: client.status
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { tab: number, action, argument } = JSON.parse(line)
  if (!tabs.has(number)) tabs.set(number, { events: [], requests: [], socket: null })
  current = tabs.get(number)
  // A failed request is reported to the user, who may try again.
  Promise.resolve(actions[action](current, argument)).catch((error) => {
    if (error.name !== "ApiError") throw error
  })
  await new Promise(setImmediate) // let its immediate effects happen
  const events = current.events.splice(0)
  process.stdout.write(`${JSON.stringify({ events, ...state(current) })}\n`)
}

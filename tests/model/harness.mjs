// Runs the real client, as many of it as there are tabs. What surrounds it is told to do by
// lines of JSON: sockets, answers to requests and the page's user. Nothing happens by itself.
import { createInterface } from "node:readline"

const tabs = new Map()
let current // the tab that is doing something

class ModelSocket extends EventTarget {
  static CONNECTING = 0
  static OPEN = 1
  readyState = 1

  constructor(url) {
    super()
    current.socket = this
    current.told.push({ what: "opened", query: url.search.slice(1) })
  }

  send() {}

  close() {
    if (this.readyState !== 1) return
    this.readyState = 3
    if (current.socket === this) current.socket = null
    current.told.push({ what: "closed" })
  }
}

Object.assign(globalThis, {
  WebSocket: ModelSocket,
  fetch: (url, { method = "GET", body }) => {
    const tab = current
    return new Promise((resolve, reject) => {
      tab.requests.push({ resolve, reject })
      const { pathname, search } = new URL(url, location.href)
      tab.told.push({ what: "asked", method, path: pathname + search, body })
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
  BroadcastChannel: undefined, // each tab in a browser of its own
  sessionStorage: { getItem: () => null, setItem: () => {}, removeItem: () => {} }
})

const { NotificationsClient } = await import(`${process.argv[2]}/client.js`)

const actions = {
  open(tab, config) {
    tab.client?.stop()
    tab.requests = []
    tab.client = new NotificationsClient(config)
    tab.client.addEventListener("notification", ({ detail: { id, number, content } }) =>
      tab.told.push({ what: "notified", id, number, body: content.body })
    )
    tab.client.addEventListener("announce", ({ detail }) => {
      for (const { notification } of detail) tab.told.push({ what: "announced", id: notification.id })
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
  load: (tab, view) => tab.client.load(view),
  loadOlder: (tab, view) => tab.client.loadOlder(view),
  mark: (tab, [ids, as]) => tab.client.mark(ids, as),
  markAll: (tab, as) => tab.client.markAll(as),
  look: () => {}
}

function view({ client }) {
  const list = (name) => client.items(name).map(({ id, state }) => [id, state])
  const views = ["inbox", "unread"]
  return {
    inbox: list("inbox"),
    unread: list("unread"),
    loaded: views.filter((name) => client.isLoaded(name)),
    older: views.filter((name) => client.hasOlder(name)),
    counts: [client.unread.unread, client.unread.unread_broadcasts],
    status: client.status
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { tab: number, action, argument } = JSON.parse(line)
  if (!tabs.has(number)) tabs.set(number, { told: [], requests: [], socket: null })
  current = tabs.get(number)
  // What was asked for and failed is told to the page's user, who may try again.
  Promise.resolve(actions[action](current, argument)).catch((error) => {
    if (error.name !== "ApiError") throw error
  })
  await new Promise(setImmediate) // all that follows from it at once
  const told = current.told.splice(0)
  process.stdout.write(`${JSON.stringify({ told, ...view(current) })}\n`)
}

// The same server as go_server/main.go, with node and ws: the same frames and endpoints.
const http = require("node:http")
const { WebSocketServer } = require("ws")

const CHECK_SECONDS = 9
const TIMEOUT_SECONDS = 20
const accounts = new Map()

const frame = (type, body = "") => JSON.stringify({ type, content: { body, meta_data: "" } })

function send(clients, message) {
  for (const client of clients) if (client.readyState === 1) client.send(message)
}

const server = http.createServer(async (request, response) => {
  const url = new URL(request.url, "http://127.0.0.1")
  let body = ""
  for await (const part of request) body += part
  const message = frame("bench", body)
  if (url.pathname === "/broadcast") for (const clients of accounts.values()) send(clients, message)
  else send(accounts.get(url.searchParams.get("account")) ?? [], message)
  response.end()
})
server.keepAliveTimeout = 60_000

const sockets = new WebSocketServer({ server, perMessageDeflate: false, path: "/ws" })
sockets.on("connection", (client, request) => {
  const account = new URL(request.url, "http://127.0.0.1").searchParams.get("user_id")
  if (!accounts.has(account)) accounts.set(account, new Set())
  accounts.get(account).add(client)
  client.heardAt = Date.now()
  client.on("error", () => {})
  client.on("message", (data) => {
    let message
    try {
      message = JSON.parse(data)
    } catch {
      return
    }
    if (message.type !== "heartbeat") return
    client.heardAt = Date.now()
    client.send(frame("heartbeat"))
  })
  client.on("close", () => {
    accounts.get(account)?.delete(client)
    if (!accounts.get(account)?.size) accounts.delete(account)
  })
  client.send(frame("register"))
})

setInterval(() => {
  for (const client of sockets.clients) if (Date.now() - client.heardAt > TIMEOUT_SECONDS * 1000) client.terminate()
}, CHECK_SECONDS * 1000)

server.listen(Number(process.argv[2]), "127.0.0.1", 4096)

// The design that this project started from, from an article about
// notifications with Go and gorilla/websocket, reduced to what the benchmark
// needs. Its wire protocol is version 1 of ours.
//
// Unchanged: two maps under one lock, channels to register and unregister, a
// reading goroutine per connection, the periodic heartbeat check, and Send,
// which looks up each account and writes to its connections in turn.
//
// Fixed, because it would not work otherwise: the list of clients to check
// started with nil entries, so the first check panicked; closed connections
// stayed registered; expired ones were not closed; two goroutines could write
// to a connection at the same time, where gorilla panics.
//
// Replaced: gin by net/http, and xid by a counter. Added: POST /broadcast and
// POST /push?account=, which take the message's body.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

const (
	MessageTypeHeartbeat = "heartbeat"
	MessageTypeRegister  = "register"

	HeartbeatCheckTime = 9
	HeartbeatTime      = 20

	ChanBufferRegister   = 100
	ChanBufferUnregister = 100
)

type Client struct {
	ID            string
	AccountId     string
	Socket        *websocket.Conn
	HeartbeatTime int64
	writing       sync.Mutex
}

func (c *Client) Write(msg []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.Socket.WriteMessage(websocket.TextMessage, msg)
}

type ClientManager struct {
	Clients  map[string]*Client
	Accounts map[string][]string
	mu       *sync.Mutex
}

var Manager = ClientManager{
	Clients:  make(map[string]*Client),
	Accounts: make(map[string][]string),
	mu:       new(sync.Mutex),
}

var (
	RegisterChan   = make(chan *Client, ChanBufferRegister)
	unregisterChan = make(chan *Client, ChanBufferUnregister)
	lastId         uint64
)

type ServiceMessage struct {
	Type    string                `json:"type"`
	Content ServiceMessageContent `json:"content"`
}

type ServiceMessageContent struct {
	Body     string `json:"body"`
	MetaData string `json:"meta_data"`
}

func CreateReplyMsg(t string, content ServiceMessageContent) []byte {
	msg, _ := json.Marshal(ServiceMessage{Type: t, Content: content})
	return msg
}

func register() {
	for {
		select {
		case conn := <-RegisterChan:
			accountBind(conn)
			_ = conn.Write(CreateReplyMsg(MessageTypeRegister, ServiceMessageContent{}))
		case conn := <-unregisterChan:
			_ = conn.Socket.Close()
			unAccountBind(conn)
		}
	}
}

func accountBind(c *Client) {
	Manager.mu.Lock()
	defer Manager.mu.Unlock()
	Manager.Clients[c.ID] = c
	Manager.Accounts[c.AccountId] = append(Manager.Accounts[c.AccountId], c.ID)
}

func unAccountBind(c *Client) {
	Manager.mu.Lock()
	defer Manager.mu.Unlock()
	delete(Manager.Clients, c.ID)
	for k, clientId := range Manager.Accounts[c.AccountId] {
		if clientId == c.ID {
			ids := Manager.Accounts[c.AccountId]
			Manager.Accounts[c.AccountId] = append(ids[:k], ids[k+1:]...)
			break
		}
	}
	if len(Manager.Accounts[c.AccountId]) == 0 {
		delete(Manager.Accounts, c.AccountId)
	}
}

func heartbeat() {
	for {
		Manager.mu.Lock()
		clients := make([]*Client, 0, len(Manager.Clients))
		for _, c := range Manager.Clients {
			clients = append(clients, c)
		}
		Manager.mu.Unlock()

		for _, c := range clients {
			if time.Now().Unix()-atomic.LoadInt64(&c.HeartbeatTime) > HeartbeatTime {
				unregisterChan <- c
			}
		}
		time.Sleep(time.Second * HeartbeatCheckTime)
	}
}

func GetClient(accountId string) []*Client {
	clients := make([]*Client, 0)
	Manager.mu.Lock()
	defer Manager.mu.Unlock()
	for _, clientId := range Manager.Accounts[accountId] {
		if c, ok := Manager.Clients[clientId]; ok {
			clients = append(clients, c)
		}
	}
	return clients
}

func (c *Client) Read() {
	defer func() { unregisterChan <- c }()
	for {
		_, body, err := c.Socket.ReadMessage()
		if err != nil {
			break
		}
		var msg struct {
			Type string `json:"type"`
		}
		if err = json.Unmarshal(body, &msg); err != nil {
			log.Println(err)
			continue
		}
		if msg.Type == MessageTypeHeartbeat {
			atomic.StoreInt64(&c.HeartbeatTime, time.Now().Unix())
			reply := CreateReplyMsg(MessageTypeHeartbeat, ServiceMessageContent{})
			if err = c.Write(reply); err != nil {
				log.Println(err)
			}
		}
	}
}

func Send(accounts []string, message ServiceMessage) error {
	msg, err := json.Marshal(message)
	if err != nil {
		return err
	}
	for _, accountId := range accounts {
		for _, c := range GetClient(accountId) {
			_ = c.Write(msg)
		}
	}
	return nil
}

func accounts() []string {
	Manager.mu.Lock()
	defer Manager.mu.Unlock()
	ids := make([]string, 0, len(Manager.Accounts))
	for id := range Manager.Accounts {
		ids = append(ids, id)
	}
	return ids
}

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

func messageNotify(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		log.Println(err)
		return
	}
	client := &Client{
		ID:            strconv.FormatUint(atomic.AddUint64(&lastId, 1), 10),
		AccountId:     r.URL.Query().Get("user_id"),
		HeartbeatTime: time.Now().Unix(),
		Socket:        conn,
	}
	RegisterChan <- client
	go client.Read()
}

func message(r *http.Request) ServiceMessage {
	body, _ := io.ReadAll(r.Body)
	return ServiceMessage{Type: "bench", Content: ServiceMessageContent{Body: string(body)}}
}

func main() {
	go heartbeat()
	go register()
	http.HandleFunc("/ws", messageNotify)
	http.HandleFunc("/broadcast", func(w http.ResponseWriter, r *http.Request) {
		_ = Send(accounts(), message(r))
	})
	http.HandleFunc("/push", func(w http.ResponseWriter, r *http.Request) {
		_ = Send([]string{r.URL.Query().Get("account")}, message(r))
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}

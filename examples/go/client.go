// A client of roomcast, written from docs/PROTOCOL.md alone: rooms, positions, tokens, signs of life, over any WebSocket.
//
// All state belongs to the goroutine of Run: other goroutines hand work in by a channel, and read messages for it. Always holds: an event
// is told once and in order, or Incomplete says that events are missing; a publish is one event, however often it is sent; it comes back
// as the code says with which the connection was closed.

package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

const (
	// The server knows a key for five minutes.
	repeatWithin  = 4 * time.Minute
	pongWithin    = 10 * time.Second
	commandWithin = 10 * time.Second
	mostWaiting   = 100
)

// Events are what a client tells. They are called by the goroutine of Run, one at a time.
type Events struct {
	Event func(room string, event Event)
	// Incomplete says that what was derived from a room's events has to be built anew; without a position, that the room is gone.
	Incomplete func(room, why string, position *Position)
	State      func(state string)
}

type room struct {
	position *Position
	// Whether it was asked for, and not answered: what comes before the answer is superseded by it.
	due bool
}

type publish struct {
	command command
	sentAt  time.Time
	answer  chan<- outcome
}

type outcome struct {
	position *Position
	events   []Event
	err      error
}

// Client follows rooms over one connection at a time.
type Client struct {
	url    string
	token  func(context.Context) (string, error)
	on     Events
	work   chan func()
	rooms  map[string]*room
	order  []string
	ids    int
	refuse string
	// The oldest one is on its way, or is sent with the next connection.
	publishes []*publish
	link      *link
}

// What belongs to one connection.
type link struct {
	socket    *websocket.Conn
	context   context.Context
	isOpen    bool
	isSending bool
	presented string
	heard     time.Time
	interval  time.Duration
	pingedAt  time.Time
	renewAt   time.Time
	goesAt    time.Time
	sendAt    time.Time
	joinAt    map[string]time.Time
	answers   map[string]func(message)
}

// NewClient makes a client; `token` gets a token whenever one is needed, nil for none.
func NewClient(url string, token func(context.Context) (string, error), on Events) *Client {
	return &Client{url: url, token: token, on: on, work: make(chan func(), mostWaiting), rooms: map[string]*room{}}
}

// Follow joins a room, now and after each reconnect. To be called before Run.
func (c *Client) Follow(name string) {
	c.rooms[name] = &room{}
	c.order = append(c.order, name)
}

// Publish publishes an event. It waits for a connection, and is sent again if its answer is lost.
func (c *Client) Publish(ctx context.Context, room, topic string, data any) (*Position, error) {
	answer := make(chan outcome, 1)
	key := rand.Text()
	c.do(ctx, func() {
		if len(c.publishes) >= mostWaiting {
			answer <- outcome{err: &RefusedError{"queue_full", fmt.Sprintf("%d publishes wait already", mostWaiting)}}
			return
		}
		one := command{Type: "publish", Room: room, Topic: topic, Data: data, Key: key}
		c.publishes = append(c.publishes, &publish{command: one, answer: answer})
		c.sendPublish()
	})
	told, err := wait(ctx, answer)
	return told.position, err
}

// History asks for the newest events of a room, the oldest first.
func (c *Client) History(ctx context.Context, room string, limit int) ([]Event, error) {
	answer := make(chan outcome, 1)
	c.do(ctx, func() {
		c.ask(command{Type: "history", Room: room, Limit: limit}, func(told message) {
			answer <- outcome{events: told.Events, err: refusal(told)}
		})
	})
	told, err := wait(ctx, answer)
	return told.events, err
}

// Has the goroutine of Run do something.
func (c *Client) do(ctx context.Context, work func()) {
	select {
	case c.work <- work:
	case <-ctx.Done():
	}
}

func wait(ctx context.Context, answer <-chan outcome) (outcome, error) {
	select {
	case told := <-answer:
		return told, told.err
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
}

// Run connects, and comes back until the server says that it should not (EndedError) or the context ends.
func (c *Client) Run(ctx context.Context) error {
	for failures := 0; ; failures++ {
		began := time.Now()
		c.on.State("connecting")
		code, reason, hint := c.connection(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(began) > 2*time.Second {
			failures = 0
		}
		if staysAway(code) || needsNewToken(code) && c.token == nil {
			return &EndedError{code, reason}
		}
		c.on.State(fmt.Sprintf("waiting after %d %s", code, reason))
		back := time.After(pause(code, failures, hint))
		for waits := true; waits; {
			select {
			case work := <-c.work:
				work()
			case <-back:
				waits = false
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// One connection, from its handshake to its end: the code and reason of its close, and the time that the server named, if it did.
func (c *Client) connection(outer context.Context) (int, string, time.Duration) {
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	token := ""
	if c.token != nil {
		var err error
		if token, err = c.token(ctx); err != nil {
			return codeLost, "no token: " + err.Error(), -1
		}
		if token == c.refuse {
			return codeRefused, "there is no other token", -1
		}
	}
	socket, answer, err := dial(ctx, c.url)
	if err != nil {
		return refused(answer, err)
	}
	defer socket.CloseNow()
	// A message of the server may hold a megabyte of events.
	socket.SetReadLimit(16 << 20)
	c.link = &link{
		socket: socket, context: ctx, presented: token, heard: time.Now(),
		joinAt: map[string]time.Time{}, answers: map[string]func(message){},
	}
	defer c.drop()
	messages, ended := read(ctx, socket)
	var over func() (int, string)
	if token == "" {
		c.open()
	} else {
		c.ask(command{Type: "connect", Token: token}, func(told message) {
			if told.Type != "error" {
				c.renewAfter(told)
				c.open()
			} else if told.Code == "unauthorized" {
				c.refuse = token
				over = func() (int, string) { return codeUnauthorized, told.Message }
			} else if isPassing(told.Code) {
				over = func() (int, string) { return codeOverloaded, told.Message }
			} else if told.Code != "lost" {
				// The backend does not want this client.
				over = func() (int, string) { return codeDisconnected, told.Message }
			}
		})
	}
	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()
	for {
		select {
		case told := <-messages:
			c.link.heard = time.Now()
			c.receive(told)
		case work := <-c.work:
			work()
		case now := <-ticks.C:
			if !c.tick(ctx, now) {
				return codeLost, "no sign of life", -1
			}
		case err := <-ended:
			code := int(websocket.CloseStatus(err))
			if code < 0 {
				return codeLost, err.Error(), -1
			}
			if needsNewToken(code) {
				c.refuse = c.link.presented
			}
			hint := time.Duration(-1)
			if !c.link.goesAt.IsZero() && comesLater(code) {
				hint = max(time.Until(c.link.goesAt), 0)
			}
			var closed websocket.CloseError
			errors.As(err, &closed)
			return code, closed.Reason, hint
		case <-ctx.Done():
			return codeLost, ctx.Err().Error(), -1
		}
		if over != nil {
			code, reason := over()
			return code, reason, -1
		}
	}
}

func dial(ctx context.Context, url string) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: []string{"roomcast.v1"}})
}

// A refusal comes as an HTTP answer before the WebSocket opens.
func refused(answer *http.Response, err error) (int, string, time.Duration) {
	hint := time.Duration(-1)
	if answer == nil {
		return codeLost, err.Error(), hint
	}
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil {
		hint = time.Duration(seconds) * time.Second
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized:
		return codeUnauthorized, answer.Status, hint
	case http.StatusForbidden, http.StatusNotFound:
		return codeRefused, answer.Status, hint
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return codeOverloaded, answer.Status, hint
	}
	return codeLost, answer.Status, hint
}

// Reads until the connection ends. The library answers the server's pings.
func read(ctx context.Context, socket *websocket.Conn) (<-chan message, <-chan error) {
	messages, ended := make(chan message), make(chan error, 1)
	go func() {
		for {
			_, text, err := socket.Read(ctx)
			if err != nil {
				ended <- err
				return
			}
			var told message
			if err := json.Unmarshal(text, &told); err != nil {
				ended <- fmt.Errorf("not a message: %w", err)
				return
			}
			select {
			case messages <- told:
			case <-ctx.Done():
				return
			}
		}
	}()
	return messages, ended
}

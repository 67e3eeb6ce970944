// What is said over the connection that there is: commands and their answers, tokens, publishes, and what the server tells of rooms.
//
// Runs in the goroutine of Run. Always holds: without a connection a command is answered with the error `lost`; a room's position moves
// only by what docs/PROTOCOL.md says ("Positions and recovery").

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// The connection ended: what waits for an answer will not get one.
func (c *Client) drop() {
	answers := c.link.answers
	c.link = nil
	for _, answered := range answers {
		answered(message{Type: "error", Code: "lost", Message: "the connection ended before the answer came"})
	}
}

// The token was taken, if there is one: joins the rooms, and then sends what waits.
func (c *Client) open() {
	c.link.isOpen = true
	c.on.State("open")
	for _, name := range c.order {
		c.join(name)
	}
	c.sendPublish()
}

func (c *Client) join(name string) {
	if room := c.rooms[name]; room != nil {
		// Of a room that goes on, the answer supersedes what an unasked join says until it comes.
		room.due = true
		c.send(command{Type: "subscribe", ID: "room " + name, Room: name, Since: room.position})
	}
}

// Does what is due. False: the server gives no sign of life.
func (c *Client) tick(ctx context.Context, now time.Time) bool {
	l := c.link
	if l.interval > 0 && l.pingedAt.After(l.heard) {
		if now.Sub(l.pingedAt) > pongWithin {
			return false
		}
	} else if l.interval > 0 && now.Sub(l.heard) > l.interval {
		l.pingedAt = now
		c.send(command{Type: "ping"})
	}
	if !l.renewAt.IsZero() && now.After(l.renewAt) {
		l.renewAt = time.Time{}
		go c.renew(ctx, l)
	}
	for name, at := range l.joinAt {
		if now.After(at) {
			delete(l.joinAt, name)
			c.join(name)
		}
	}
	if !l.sendAt.IsZero() && now.After(l.sendAt) {
		l.sendAt = time.Time{}
		l.isSending = false
		c.sendPublish()
	}
	return true
}

// Gets a newer token, and presents it on the live connection.
func (c *Client) renew(ctx context.Context, of *link) {
	token, err := c.token(ctx)
	c.do(ctx, func() {
		if c.link != of {
			return
		}
		again := func() { of.renewAt = time.Now().Add(time.Second + below(2*time.Second)) }
		if err != nil {
			again()
			return
		}
		c.ask(command{Type: "refresh", Token: token}, func(told message) {
			if told.Type == "error" {
				// The old one stays in force until it ends.
				again()
				return
			}
			of.presented = token
			c.renewAfter(told)
		})
	})
}

// A token is replaced a fifth of its life before it ends, at most two minutes before.
func (c *Client) renewAfter(done message) {
	if done.ExpiresAt != 0 && c.link != nil {
		left := time.Until(time.UnixMilli(done.ExpiresAt))
		c.link.renewAt = time.Now().Add(max(left-min(left/5, 2*time.Minute), time.Second))
	}
}

// Sends the oldest publish that waits, unless one is on its way: so none overtakes another one.
func (c *Client) sendPublish() {
	for c.link != nil && c.link.isOpen && !c.link.isSending && len(c.publishes) > 0 {
		first := c.publishes[0]
		settle := func(told outcome) {
			c.publishes = c.publishes[1:]
			first.answer <- told
		}
		if !first.sentAt.IsZero() && time.Since(first.sentAt) > repeatWithin {
			settle(outcome{err: &RefusedError{"unknown", "the event may or may not be there"}})
			continue
		}
		if first.sentAt.IsZero() {
			first.sentAt = time.Now()
		}
		l := c.link
		l.isSending = true
		c.ask(first.command, func(told message) {
			if told.Code == "lost" {
				// It stays where it is, and is sent again with the same key.
				return
			}
			if isPassing(told.Code) {
				l.sendAt = time.Now().Add(time.Second)
				return
			}
			l.isSending = false
			settle(outcome{position: told.position(), err: refusal(told)})
			c.sendPublish()
		})
	}
}

func refusal(told message) error {
	if told.Type == "error" {
		return &RefusedError{told.Code, told.Message}
	}
	return nil
}

// Sends a command; without a connection, and if the connection ends first, the answer is the error `lost`.
func (c *Client) ask(what command, answered func(message)) {
	if c.link == nil {
		answered(message{Type: "error", Code: "lost", Message: "there is no connection"})
		return
	}
	c.ids++
	what.ID = strconv.Itoa(c.ids)
	c.link.answers[what.ID] = answered
	c.send(what)
}

func (c *Client) send(what command) {
	text, err := json.Marshal(what)
	if err != nil {
		panic(fmt.Sprintf("what is published is not JSON: %v", err))
	}
	ctx, cancel := context.WithTimeout(c.link.context, commandWithin)
	defer cancel()
	// A connection that takes nothing any more ends, and its reader says so.
	_ = c.link.socket.Write(ctx, websocket.MessageText, text)
}

func (c *Client) receive(told message) {
	if answered := c.link.answers[told.ID]; answered != nil && told.ID != "" {
		delete(c.link.answers, told.ID)
		answered(told)
		return
	}
	switch told.Type {
	case "welcome":
		c.link.interval = time.Duration(told.PingInterval) * time.Millisecond
	case "reconnect":
		c.link.goesAt = time.Now().Add(time.Duration(told.AfterMS) * time.Millisecond)
	case "refresh":
		// The backend may want the rights of all users looked at again, and all are asked at the same time.
		c.link.renewAt = time.Now().Add(below(time.Second))
	default:
		if room := c.rooms[told.Room]; room != nil && (!room.due || told.ID != "") {
			c.receiveOfRoom(room, told)
		}
	}
}

func (c *Client) receiveOfRoom(room *room, told message) {
	position := told.position()
	switch told.Type {
	case "error":
		if isPassing(told.Code) {
			c.link.joinAt[told.Room] = time.Now().Add(time.Second + below(2*time.Second))
			return
		}
		delete(c.rooms, told.Room)
		c.on.Incomplete(told.Room, told.Code, nil)
		return
	case "unsubscribed":
		delete(c.rooms, told.Room)
		c.on.Incomplete(told.Room, told.Code, nil)
		return
	case "subscribed":
		room.due = false
		if !told.Recovered {
			why := "joined"
			if room.position != nil {
				why = "unrecovered"
			}
			c.on.Incomplete(told.Room, why, position)
		}
	case "gap":
		if position == nil {
			position = room.position
		}
		c.on.Incomplete(told.Room, "gap", position)
	case "events":
		for _, event := range told.Events {
			c.on.Event(told.Room, event)
		}
	}
	// Values that the room keeps move no position: they have none.
	if position != nil {
		room.position = position
	}
}

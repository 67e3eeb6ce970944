// The messages of roomcast.v1, as far as this client reads and writes them.

package main

import (
	"encoding/json"
	"fmt"
)

// Position is how much of a room's log a client has. The epoch is only to be kept and compared.
type Position struct {
	Epoch  string `json:"epoch"`
	Offset int64  `json:"offset"`
}

// Event is an event of a room. An event that is in no log has no offset.
type Event struct {
	Offset *int64          `json:"offset"`
	Topic  string          `json:"topic"`
	Key    string          `json:"key"`
	Data   json.RawMessage `json:"data"`
	Data64 string          `json:"data64"`
	Time   int64           `json:"time"`
	User   string          `json:"user"`
}

// What a client says. What is empty is left out.
type command struct {
	Type  string    `json:"type"`
	ID    string    `json:"id,omitempty"`
	Room  string    `json:"room,omitempty"`
	Since *Position `json:"since,omitempty"`
	Token string    `json:"token,omitempty"`
	Topic string    `json:"topic,omitempty"`
	Data  any       `json:"data,omitempty"`
	Key   string    `json:"idempotency_key,omitempty"`
	Limit int       `json:"limit,omitempty"`
}

// What a server says; which fields are there follows from the type.
type message struct {
	Type         string  `json:"type"`
	ID           string  `json:"id"`
	Room         string  `json:"room"`
	Epoch        string  `json:"epoch"`
	Offset       *int64  `json:"offset"`
	Recovered    bool    `json:"recovered"`
	Events       []Event `json:"events"`
	Code         string  `json:"code"`
	Message      string  `json:"message"`
	PingInterval int64   `json:"ping_interval"`
	ExpiresAt    int64   `json:"expires_at"`
	AfterMS      int64   `json:"after_ms"`
}

func (m message) position() *Position {
	if m.Offset == nil {
		return nil
	}
	return &Position{m.Epoch, *m.Offset}
}

// EndedError says that the server does not want this client back.
type EndedError struct {
	Code   int
	Reason string
}

func (e *EndedError) Error() string { return fmt.Sprintf("closed with %d: %s", e.Code, e.Reason) }

// RefusedError says why a command was not carried out, by one of the protocol's codes.
type RefusedError struct{ Code, Text string }

func (e *RefusedError) Error() string { return e.Code + ": " + e.Text }

// Errors after which the same command may succeed: a publish is sent again with its key, so that it is one event.
func isPassing(code string) bool {
	return code == "rate_limited" || code == "unavailable" || code == "unknown"
}

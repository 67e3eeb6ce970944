// Follows rooms and prints what happens in them; each line that is typed is published to the first one.
//
//	go run . ws://localhost:8080/ws demo:1
//	go run . -token-url https://backend.example.com/token wss://push.example.com/ws chat:lobby
//
// What was said before is printed when a room is joined, and again where events are missing that the server no longer has.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"
)

const earlier = 5

func main() {
	tokenURL := flag.String("token-url", "", "where a GET answers with a token")
	flag.Parse()
	if flag.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "usage: follow [-token-url URL] URL ROOM...")
		os.Exit(2)
	}
	url, rooms := flag.Arg(0), flag.Args()[1:]
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	var token func(context.Context) (string, error)
	if *tokenURL != "" {
		token = func(ctx context.Context) (string, error) { return get(ctx, *tokenURL) }
	}
	var client *Client
	loads := map[string]context.CancelFunc{}
	client = NewClient(url, token, Events{
		State: func(state string) { say("state %s", state) },
		Event: func(room string, event Event) { say("event %s %s %s", room, offset(event), data(event)) },
		Incomplete: func(room, why string, position *Position) {
			// What was being loaded is out of date.
			if cancel := loads[room]; cancel != nil {
				cancel()
			}
			if position == nil {
				say("incomplete %s %s -", room, why)
				return
			}
			say("incomplete %s %s %d", room, why, position.Offset)
			ctx, cancel := context.WithCancel(ctx)
			loads[room] = cancel
			go load(ctx, client, room, *position)
		},
	})
	for _, room := range rooms {
		client.Follow(room)
	}
	go publishLines(ctx, client, rooms[0])
	err := client.Run(ctx)
	var ended *EndedError
	if errors.As(err, &ended) {
		say("ended %d %v", ended.Code, err)
		os.Exit(1)
	}
}

// A real application builds its state here: from its own backend, or from the room's history. Events behind the position follow.
func load(ctx context.Context, client *Client, room string, position Position) {
	for {
		events, err := client.History(ctx, room, earlier)
		if err == nil {
			for _, event := range events {
				if event.Offset != nil && *event.Offset <= position.Offset {
					say("earlier %s %s %s", room, offset(event), data(event))
				}
			}
			return
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
	}
}

func publishLines(ctx context.Context, client *Client, room string) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		text := lines.Text()
		position, err := client.Publish(ctx, room, "said", text)
		var refused *RefusedError
		if errors.As(err, &refused) {
			say("refused %s %q", refused.Code, text)
		} else if err == nil {
			say("published %d %q", position.Offset, text)
		}
	}
}

func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answered %s", url, answer.Status)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 16<<10))
	return strings.TrimSpace(string(text)), err
}

var printing sync.Mutex

func say(format string, values ...any) {
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(strings.TrimSpace(fmt.Sprintf(format, values...)))
}

func offset(event Event) string {
	if event.Offset == nil {
		return "-"
	}
	return fmt.Sprint(*event.Offset)
}

func data(event Event) string {
	if event.Data64 != "" {
		return "base64 " + event.Data64
	}
	return string(event.Data)
}

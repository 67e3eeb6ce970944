// What the codes of a close say about coming back: the table of docs/PROTOCOL.md, and the pauses between attempts.
//
// Pure. Always holds: a pause has a jitter, and one that the server named is never cut short.

package main

import (
	"math/rand/v2"
	"time"
)

const (
	codeLost         = 1006
	codeRefused      = 1008
	codeRestart      = 1012
	codeOverloaded   = 1013
	codeUnauthorized = 4001
	codeExpired      = 4002
	codeDisconnected = 4003
)

// Whether a client that was closed with this code stays away: it would be closed again, or was told to.
func staysAway(code int) bool {
	switch code {
	case 1000, 1002, 1003, 1007, codeRefused, 1009, codeDisconnected, 4011, 4029:
		return true
	}
	return false
}

func needsNewToken(code int) bool { return code == codeUnauthorized || code == codeExpired }

func comesLater(code int) bool { return code == codeRestart || code == codeOverloaded }

// How long to wait after so many failures: full jitter below a bound that doubles. `hint` is what the server named, negative if nothing.
func pause(code, failures int, hint time.Duration) time.Duration {
	if hint >= 0 {
		return hint + below(250*time.Millisecond)
	}
	bound := min(250*time.Millisecond<<min(failures, 10), 30*time.Second)
	if comesLater(code) {
		return 2*time.Second + below(max(bound, 4*time.Second))
	}
	return below(bound)
}

func below(bound time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(bound))) }

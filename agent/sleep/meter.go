package sleep

import "time"

// Kind says what traffic on a port means.
type Kind int

// The kinds of ports.
const (
	// Plain is a port of which nothing is known: all that a client sends is a request.
	Plain Kind = iota
	// Beating is a port whose clients send heartbeats, encrypted, on connections that they leave open: the API server's.
	Beating
	// Session is a port whose connections are somebody at work as long as they are open: the SSH server's. A command that runs
	// there may be silent for hours, and its keepalives look like a key that is pressed.
	Session
)

const (
	// beat is the most that a client sends at once, in bytes, and asks nothing by it: HTTP/2's PING in TLS 1.3 has 39 (RFC 9113,
	// 6.7; RFC 8446, 5.2), and two WINDOW_UPDATEs have 48.
	beat = 64
	// beats is the most that it sends in a window in such small pieces. A watch of client-go sends a PING every 30 s, so 78
	// bytes (apimachinery, util/net, readIdleTimeoutSeconds), and three when the window is cut that way. exec and attach send
	// one of about 30 every 5 s (client-go, tools/remotecommand), port-forward one of about 40 every 10 s (tools/portforward),
	// and somebody is at work there.
	beats = 128
	// answer is what the guest sends in a window when somebody fetches something. Events, bookmarks and the logs of a quiet pod
	// stay below it.
	answer = 64 << 10
	window = time.Minute
)

// meter tells requests from what an open connection carries by itself. It is a value, of one connection.
type meter struct {
	kind           Kind
	since          time.Time // of the window
	sent, received int       // bytes by the client, and by the guest, in the window
}

// send counts what the client sent, and reports whether that is a request.
func (m *meter) send(now time.Time, bytes int) bool {
	m.roll(now)
	m.sent += bytes
	return m.kind != Beating || bytes > beat || m.sent > beats
}

// receive counts what the guest sent, and reports whether that shows that somebody is being answered. By itself a guest
// keeps nobody awake: it talks for ever on a connection that somebody forgot.
func (m *meter) receive(now time.Time, bytes int) bool {
	m.roll(now)
	m.received += bytes
	return m.received > answer
}

func (m *meter) roll(now time.Time) {
	if now.Sub(m.since) >= window {
		m.since, m.sent, m.received = now, 0, 0
	}
}

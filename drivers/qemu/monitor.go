package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// monitor is a connection to QEMU's machine protocol (QEMU documentation, "interop/qmp-spec"). QEMU serves one connection
// at a time and leaves others waiting for its greeting, so a monitor is for a few commands and is closed then.
//
// It is our own because go-qemu's SocketMonitor cannot be cancelled, and hands out a buffer that it overwrites.
type monitor struct {
	conn    net.Conn
	decoder *json.Decoder
}

// message is all that QEMU sends: greeting, answer or event.
type message struct {
	Greeting *json.RawMessage `json:"QMP"`
	Event    string           `json:"event"`
	Return   json.RawMessage  `json:"return"`
	Error    *monitorError    `json:"error"`
}

// monitorError is a command that QEMU refused.
type monitorError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *monitorError) Error() string { return e.Desc }

// connect returns once QEMU takes commands.
func connect(ctx context.Context, socket string) (*monitor, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("reach QEMU: %w", err)
	}
	m := &monitor{conn: conn, decoder: json.NewDecoder(conn)}
	err = m.interruptible(ctx, func() error {
		var greeting message
		if err := m.decoder.Decode(&greeting); err != nil {
			return err
		}
		if greeting.Greeting == nil {
			return errors.New("it does not speak QMP")
		}
		return m.exchange("qmp_capabilities", nil)
	})
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("reach QEMU: %w", err)
	}
	return m, nil
}

func (m *monitor) close() { _ = m.conn.Close() }

// execute runs a command and keeps what it returns in result, unless that is nil. A refusal is a *monitorError.
func (m *monitor) execute(ctx context.Context, command string, result any) error {
	err := m.interruptible(ctx, func() error { return m.exchange(command, result) })
	if err != nil {
		return fmt.Errorf("ask QEMU for %s: %w", command, err)
	}
	return nil
}

// exchange sends a command and reads up to its answer; there is only ever one on its way.
func (m *monitor) exchange(command string, result any) error {
	request := struct {
		Execute string `json:"execute"`
	}{command}
	if err := json.NewEncoder(m.conn).Encode(request); err != nil {
		return err
	}
	for {
		var answer message
		if err := m.decoder.Decode(&answer); err != nil {
			return err
		}
		switch {
		case answer.Event != "":
			continue
		case answer.Error != nil:
			return answer.Error
		case result == nil:
			return nil
		}
		return json.Unmarshal(answer.Return, result)
	}
}

// interruptible runs do and makes it end when ctx does.
func (m *monitor) interruptible(ctx context.Context, do func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = m.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	err := do()
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// status is what QEMU says the guest is doing: its RunState.
func (m *monitor) status(ctx context.Context) (string, error) {
	var answer struct {
		Status string `json:"status"`
	}
	err := m.execute(ctx, "query-status", &answer)
	return answer.Status, err
}

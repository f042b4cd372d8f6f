package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// monitor is a connection to QEMU's machine protocol (QEMU documentation, "interop/qmp-spec"). QEMU serves one connection
// at a time and leaves others waiting for its greeting, so a monitor is for a few commands and is closed then.
//
// It is our own because go-qemu's SocketMonitor cannot be cancelled, and hands out a buffer that it overwrites.
type monitor struct {
	conn    net.Conn
	decoder *json.Decoder
	version string
}

// message is all that QEMU sends: greeting, answer or event.
type message struct {
	Greeting *greeting       `json:"QMP"`
	Event    string          `json:"event"`
	Return   json.RawMessage `json:"return"`
	Error    *monitorError   `json:"error"`
}

// greeting is how QEMU introduces itself.
type greeting struct {
	Version struct {
		QEMU struct {
			Major int `json:"major"`
			Minor int `json:"minor"`
			Micro int `json:"micro"`
		} `json:"qemu"`
		Package string `json:"package"`
	} `json:"version"`
}

// version is that of the program, with what its packager calls it.
func (g greeting) version() string {
	v := g.Version.QEMU
	return strings.TrimSpace(fmt.Sprintf("%d.%d.%d %s", v.Major, v.Minor, v.Micro, g.Version.Package))
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
		m.version = greeting.Greeting.version()
		return m.exchange("qmp_capabilities", nil, nil, nil)
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
	return m.call(ctx, command, nil, result)
}

// call is execute for a command with arguments, a value that becomes a JSON object.
func (m *monitor) call(ctx context.Context, command string, arguments, result any) error {
	err := m.interruptible(ctx, func() error { return m.exchange(command, arguments, nil, result) })
	if err != nil {
		return fmt.Errorf("ask QEMU for %s: %w", command, err)
	}
	return nil
}

// give hands an open file over to QEMU, which knows it by name from then on (QMP's getfd).
func (m *monitor) give(ctx context.Context, name string, file *os.File) error {
	err := m.interruptible(ctx, func() error {
		return m.exchange("getfd", map[string]string{"fdname": name}, file, nil)
	})
	if err != nil {
		return fmt.Errorf("hand a file to QEMU: %w", err)
	}
	return nil
}

// exchange sends a command, with an open file unless that is nil, and reads up to its answer; there is only ever one on
// its way.
func (m *monitor) exchange(command string, arguments any, file *os.File, result any) error {
	request, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, arguments})
	if err == nil {
		err = m.send(append(request, '\n'), file)
	}
	if err != nil {
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

func (m *monitor) send(request []byte, file *os.File) error {
	if file == nil {
		_, err := m.conn.Write(request)
		return err
	}
	conn, ok := m.conn.(*net.UnixConn)
	if !ok {
		return errors.New("files can be handed over unix sockets alone")
	}
	_, _, err := conn.WriteMsgUnix(request, syscall.UnixRights(int(file.Fd())), nil)
	return err
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

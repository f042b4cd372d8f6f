package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/skiff-k8s/skiff/machine"
)

// migrateTick is how often QEMU is asked whether it has saved or loaded the state of the devices, which takes some
// hundredths of a second.
const migrateTick = 5 * time.Millisecond

// ignoreShared makes QEMU leave out of its migrations what is shared with others: the guest's memory.
var ignoreShared = map[string]any{ //nolint:gochecknoglobals // a constant of a type that has none
	"capabilities": []map[string]any{{"capability": "x-ignore-shared", "state": true}},
}

// halt makes the guest stand still and reports whether it ran before. It is idempotent.
func (m *Machine) halt(ctx context.Context, qemu *monitor) (ran bool, err error) {
	status, err := qemu.status(ctx)
	if err != nil {
		return false, err
	}
	if status == "running" {
		return true, qemu.execute(ctx, "stop", nil)
	}
	state, err := stateOf(status)
	if err == nil && state != machine.Paused {
		err = fmt.Errorf("the guest is %s", state)
	}
	if err == nil && status == "postmigrate" {
		// A command that saved it was cut off. QEMU gave its disks up then, and takes them again only to go on.
		if err = m.letRun(ctx, qemu); err == nil {
			err = qemu.execute(ctx, "stop", nil)
		}
	}
	return false, err
}

// saveDevices returns all of a guest that stands still but its memory. QEMU has given up its disks afterwards; "cont"
// takes them again.
func (m *monitor) saveDevices(ctx context.Context) ([]byte, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = reader.Close() }()
	if err := m.call(ctx, "migrate-set-capabilities", ignoreShared, nil); err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	err = m.give(ctx, "devices", writer)
	if err = errors.Join(err, writer.Close()); err != nil {
		return nil, err
	}
	type saved struct {
		devices []byte
		err     error
	}
	reading := make(chan saved, 1)
	go func() {
		devices, err := io.ReadAll(reader)
		reading <- saved{devices, err}
	}()
	if err := m.migrate(ctx); err != nil {
		return nil, err
	}
	select {
	case all := <-reading:
		return all.devices, all.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// migrate writes to the file that was handed over, and returns once all of it is written.
func (m *monitor) migrate(ctx context.Context) error {
	if err := m.call(ctx, "migrate", map[string]string{"uri": "fd:devices"}, nil); err != nil {
		return err
	}
	return every(ctx, migrateTick, func() (done bool, err error) {
		var answer struct {
			Status string `json:"status"`
			Desc   string `json:"error-desc"`
		}
		if err := m.execute(ctx, "query-migrate", &answer); err != nil {
			return false, err
		}
		switch answer.Status {
		case "completed":
			return true, nil
		case "failed", "cancelled":
			return false, fmt.Errorf("QEMU could not save the devices: %s %s", answer.Status, answer.Desc)
		}
		return false, nil
	})
}

// loadDevices gives a QEMU that waits for it (-incoming defer) what saveDevices returned. The guest stands still.
func (m *monitor) loadDevices(ctx context.Context, devices []byte) error {
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	if err := m.call(ctx, "migrate-set-capabilities", ignoreShared, nil); err != nil {
		return errors.Join(err, reader.Close(), writer.Close())
	}
	err = m.give(ctx, "devices", reader)
	if err = errors.Join(err, reader.Close()); err != nil {
		return errors.Join(err, writer.Close())
	}
	go func() { // it ends with QEMU at the latest, who has the only reader
		_, _ = writer.Write(devices)
		_ = writer.Close()
	}()
	if err := m.call(ctx, "migrate-incoming", map[string]string{"uri": "fd:devices"}, nil); err != nil {
		return err
	}
	return every(ctx, migrateTick, func() (done bool, err error) {
		status, err := m.status(ctx)
		if err != nil {
			return false, fmt.Errorf("QEMU could not load the devices: %w", err)
		}
		return status == "paused", nil
	})
}

// every calls ask at once and then at each tick, until it is done or fails.
func every(ctx context.Context, tick time.Duration, ask func() (done bool, err error)) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if done, err := ask(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

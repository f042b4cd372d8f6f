package qemu

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// behaviour is how the test binary behaves when it plays QEMU.
type behaviour string

const (
	works    behaviour = "works"
	deaf     behaviour = "deaf"     // the guest does not react to the power button
	stubborn behaviour = "stubborn" // deaf, and QEMU does not react to SIGTERM
	paused   behaviour = "paused"   // runs with a paused guest
	full     behaviour = "full"     // cannot write the guest's disk
	dies     behaviour = "dies"     // complains and ends
	mute     behaviour = "mute"     // runs and never listens
	old      behaviour = "old"      // tells an old version
	noProbe  behaviour = "no-probe" // works, but a test guest has an internal error
	hangs    behaviour = "hangs"    // works, but a test guest never says anything
	image    behaviour = "img"      // qemu-img
	fullDisk behaviour = "img-full" // qemu-img that cannot write
)

const playVariable = "SKIFF_TEST_PLAYS_QEMU"

// playing writes a script that starts the test binary in the given behaviour.
func playing(t *testing.T, how behaviour) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "qemu-"+string(how))
	// The race detector's runtime would wait for a second before it ends.
	script := fmt.Sprintf("#!/bin/sh\nGORACE=atexit_sleep_ms=0 %s=%s exec '%s' \"$@\"\n", playVariable, how, self)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// play is the main function of a stand-in for QEMU.
func play(how behaviour, args []string, out io.Writer) error {
	switch {
	case args[0] == "--version" && how == old:
		_, err := fmt.Fprintln(out, "QEMU emulator version 6.2.0 (Debian 1:6.2)")
		return err
	case args[0] == "--version":
		fmt.Fprintln(out, "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)")
		return nil
	case how == dies:
		return fmt.Errorf("qemu: -netdev stream: cannot reach anything")
	case how == fullDisk:
		return fmt.Errorf("qemu-img: No space left on device")
	case how == image: // create … -- PATH SIZE
		return os.WriteFile(args[len(args)-2], []byte("QFI\xfb\x00\x00\x00\x03"), 0o600)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if how == stubborn {
		signal.Ignore(syscall.SIGTERM)
	}
	if strings.Contains(value(args, "-append"), "skiff.probe=1") {
		switch how {
		case noProbe:
			fmt.Fprintln(out, "KVM internal error. Suberror: 1")
		case hangs:
		default:
			fmt.Fprintln(out, "[    0.5] skiff-probe-ok")
		}
		<-stop
		return nil
	}
	if err := os.WriteFile(value(args, "-pidfile"), fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		return err
	}
	if how == mute {
		<-stop
		return nil
	}
	socket, _, _ := strings.Cut(strings.TrimPrefix(value(args, "-qmp"), "unix:"), ",")
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", socket)
	if err != nil {
		return err
	}
	powerOff := make(chan struct{})
	go serveMachine(listener, how, powerOff)
	select {
	case <-stop:
	case <-powerOff:
	}
	return os.Remove(value(args, "-pidfile"))
}

// value returns what follows an option.
func value(args []string, option string) string {
	for i, arg := range args[:len(args)-1] {
		if arg == option {
			return args[i+1]
		}
	}
	return ""
}

// serveMachine answers one connection at a time, as QEMU does.
func serveMachine(listener net.Listener, how behaviour, powerOff chan<- struct{}) {
	status := "running"
	switch how {
	case paused:
		status = "paused"
	case full:
		status = "io-error"
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		serveQMP(conn, func(command string) any {
			switch {
			case command == "query-status":
				return map[string]any{"status": status}
			case command == "cont" && how != full:
				status = "running"
			case command == "system_powerdown" && how != deaf && how != stubborn:
				close(powerOff)
			}
			return map[string]any{}
		})
	}
}

// serveQMP speaks the protocol on conn until the other side closes it, with events before each answer.
func serveQMP(conn io.ReadWriteCloser, answer func(command string) any) {
	defer func() { _ = conn.Close() }()
	out := json.NewEncoder(conn)
	_ = out.Encode(map[string]any{"QMP": map[string]any{"version": map[string]any{}, "capabilities": []string{"oob"}}})
	for in := json.NewDecoder(conn); ; {
		var request struct{ Execute string }
		if in.Decode(&request) != nil {
			return
		}
		_ = out.Encode(map[string]any{"event": "RESUME", "timestamp": map[string]any{"seconds": 1}})
		switch result := answer(request.Execute).(type) {
		case error:
			_ = out.Encode(map[string]any{"error": map[string]any{"class": "GenericError", "desc": result.Error()}})
		default:
			_ = out.Encode(map[string]any{"return": result})
		}
	}
}

package vfkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/internal/processes"
	"github.com/skiff-k8s/skiff/machine"
)

// behaviour is how the test binary behaves when it plays vfkit.
type behaviour string

const (
	works    behaviour = "works"
	deaf     behaviour = "deaf"     // the guest does not react to the power button
	stubborn behaviour = "stubborn" // deaf, and vfkit does not end either
	paused   behaviour = "paused"   // runs with a paused guest
	dies     behaviour = "dies"     // complains and ends
	mute     behaviour = "mute"     // runs and never listens
)

// played begins the file name under which the test binary is vfkit. Its argument 0 is the machine's, as the driver says.
const played = "play-vfkit-"

// playing returns the path of a program that behaves so.
func playing(t *testing.T, how behaviour) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), played+string(how))
	if os.Link(self, path) == nil {
		return path
	}
	binary, err := os.ReadFile(self) // another file system
	if err == nil {
		err = os.WriteFile(path, binary, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMain(m *testing.M) {
	if self, err := os.Executable(); err == nil {
		if how, ok := strings.CutPrefix(filepath.Base(self), played); ok {
			if err := play(behaviour(how), os.Args[1:], os.Stdout); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1) //nolint:forbidigo // in TestMain, as vfkit
			}
			os.Exit(0) //nolint:forbidigo // in TestMain, as vfkit
		}
	}
	m.Run()
}

// play is the main function of a stand-in for vfkit.
func play(how behaviour, args []string, out io.Writer) error {
	switch {
	case args[0] == "--version":
		_, err := fmt.Fprintln(out, "vfkit version: v0.6.1")
		return err
	case how == dies:
		return fmt.Errorf(`Error: Error Domain=VZErrorDomain Code=2 Description="A storage device attachment is invalid."`)
	}
	signal.Ignore(syscall.SIGHUP)
	stop := make(chan struct{})
	if how == mute {
		time.Sleep(time.Hour) // until it is killed
	}
	socket, ok := strings.CutPrefix(value(args, "--restful-uri"), "unix://")
	if !ok {
		return fmt.Errorf("no socket in %q", args)
	}
	if err := drivertest.Boot(firstDisk(args)); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", socket)
	if err != nil {
		return err
	}
	service := &service{how: how, state: "VirtualMachineStateRunning", stop: stop}
	if how == paused {
		service.state = "VirtualMachineStatePaused"
	}
	go func() { _ = http.Serve(listener, service) }()
	<-stop
	return os.Remove(socket)
}

// value returns what follows an option.
func value(args []string, option string) string {
	if at := slices.Index(args, option); at >= 0 && at+1 < len(args) {
		return args[at+1]
	}
	return ""
}

// firstDisk returns the path of the disk that the guest boots from.
func firstDisk(args []string) string {
	for _, arg := range args {
		if path, ok := strings.CutPrefix(arg, "virtio-blk,path="); ok {
			return path
		}
	}
	return ""
}

// guestOf returns a played guest that is what the arguments of the machine's process make of it, with files on the machine's
// disk. There is none while the process does not live.
func guestOf(f files, below string, spec machine.Spec) (machine.Runner, error) {
	l, err := f.look()
	if err != nil || !l.lives {
		return nil, errors.Join(errors.New("connection refused"), err)
	}
	args, err := processes.Arguments(l.pid)
	if err != nil {
		return nil, err
	}
	// A number that cannot be read is 0, which no machine was asked to have.
	spec.CPUs, _ = strconv.Atoi(value(args, "--cpus"))
	spec.MemoryMiB, _ = strconv.Atoi(value(args, "--memory"))
	return drivertest.Booted(below, firstDisk(args), spec)
}

// service is vfkit's RESTful service.
type service struct {
	how  behaviour
	stop chan struct{}

	mu    sync.Mutex
	state string
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodGet {
		_ = json.NewEncoder(w).Encode(map[string]string{"state": s.state})
		return
	}
	var asked struct{ State string }
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch {
	case asked.State == "Stop" && (s.how == deaf || s.how == stubborn), asked.State == "HardStop" && s.how == stubborn:
	case asked.State == "Stop", asked.State == "HardStop":
		if s.state != "VirtualMachineStateStopped" {
			s.state = "VirtualMachineStateStopped"
			defer close(s.stop)
		}
	case asked.State == "Resume":
		s.state = "VirtualMachineStateRunning"
	default:
		http.Error(w, `{"error":"invalid state"}`, http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

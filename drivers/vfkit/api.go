package vfkit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/skiff-k8s/skiff/machine"
)

// change is what vfkit can be asked to do (vfkit, doc/usage.md, "Change VM State").
type change string

const (
	pressPower change = "Stop" // asks the guest
	hardStop   change = "HardStop"
	resume     change = "Resume"
)

// api talks to the RESTful service of one vfkit.
type api struct{ http http.Client }

func dial(socket string) *api {
	return &api{http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}}
}

// state asks how the machine is (vfkit, doc/usage.md, "Get VM state").
func (a *api) state(ctx context.Context) (machine.State, error) {
	answer, err := a.call(ctx, http.MethodGet, nil)
	if err != nil {
		return machine.Broken, err
	}
	return parseState(answer)
}

// change asks for another state and does not wait for it.
func (a *api) change(ctx context.Context, to change) error {
	body, err := json.Marshal(map[string]change{"state": to})
	if err == nil {
		_, err = a.call(ctx, http.MethodPost, body)
	}
	return err
}

func (a *api) call(ctx context.Context, method string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://vfkit/vm/state", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := a.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask vfkit: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return nil, fmt.Errorf("ask vfkit: %w", err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return nil, fmt.Errorf("vfkit refused: %s", strings.TrimSpace(string(answer)))
	}
	return answer, nil
}

// parseState reads an answer such as {"state":"VirtualMachineStateRunning"}. The words are those of Apple's
// VZVirtualMachineState (Virtualization framework, "VZVirtualMachine.State"), as the library of vfkit prints them.
func parseState(answer []byte) (machine.State, error) {
	var said struct{ State string }
	if err := json.Unmarshal(answer, &said); err != nil {
		return machine.Broken, fmt.Errorf("read vfkit's answer: %w", err)
	}
	switch strings.TrimPrefix(said.State, "VirtualMachineState") {
	case "Running", "Resuming":
		return machine.Running, nil
	case "Starting":
		return machine.Running, errStarting
	case "Paused", "Pausing":
		return machine.Paused, nil
	case "Stopped", "Stopping":
		return machine.Stopped, nil
	}
	return machine.Broken, fmt.Errorf("vfkit reports that the guest is in state %q", said.State)
}

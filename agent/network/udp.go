package network

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"

	"github.com/containers/gvisor-tap-vsock/pkg/types"
)

// ForwardUDP carries datagrams between host and a UDP address inside the network until the result is closed. The caller
// sees to it that host is a loopback address. The library keeps its UDP side to itself but for this request of its own API,
// which is answered in this process.
func (n *Network) ForwardUDP(host, guest netip.AddrPort) (io.Closer, error) {
	err := n.ask("/services/forwarder/expose", types.ExposeRequest{
		Local: host.String(), Remote: guest.String(), Protocol: types.UDP,
	})
	if err != nil {
		return nil, fmt.Errorf("forward UDP %s to %s: %w", host, guest, err)
	}
	return closer(func() error {
		return n.ask("/services/forwarder/unexpose", types.UnexposeRequest{Local: host.String(), Protocol: types.UDP})
	}), nil
}

type closer func() error

func (c closer) Close() error { return c() }

func (n *Network) ask(path string, body any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPost, path, bytes.NewReader(encoded)) //nolint:noctx // never leaves the process
	if err != nil {
		return err
	}
	answer := answer{header: http.Header{}, status: http.StatusOK}
	n.virtual.ServicesMux().ServeHTTP(&answer, request)
	if answer.status != http.StatusOK {
		return errors.New(strings.TrimSpace(answer.body.String()))
	}
	return nil
}

// answer is an http.ResponseWriter that keeps what it is given.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

var _ http.ResponseWriter = (*answer)(nil)

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
func (a *answer) WriteHeader(status int)      { a.status = status }

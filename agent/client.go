package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/skiff-k8s/skiff/agent/network"
)

// Status is what an agent says of itself.
type Status struct {
	PID       int         `json:"pid"`
	Version   string      `json:"version"`
	Profile   string      `json:"profile"`
	Address   netip.Addr  `json:"address"`
	LogFile   string      `json:"logFile"`   // as of Config; it lies in the folder of the cluster that the agent is of
	Published []Published `json:"published"` // those that every cluster has first, then Services, oldest first
	Connected bool        `json:"connected"` // a machine has joined the virtual network
	Offline   bool        `json:"offline"`
	Watching  bool        `json:"watching"` // WatchKubernetes has been called
	Health    Health      `json:"health"`
	// AutoPause is as of the method of that name. Asleep says that the machine is paused for it, and the next who asks
	// something of it wakes it; its health is not looked at then.
	AutoPause time.Duration `json:"autoPause,omitempty"`
	Asleep    bool          `json:"asleep,omitempty"`
	Trouble   string        `json:"trouble,omitempty"` // why the last request could not wake it, or its clock not be set
	// HostAccess is what the machine may reach of this host's 127.0.0.1.
	HostAccess network.Access `json:"hostAccess,omitzero"`
	// InsecureRegistries are as of the method of that name.
	InsecureRegistries []string `json:"insecureRegistries,omitempty"`
}

// Health says what is wrong with parts of the guest, one sentence each. Empty means that the part answers.
type Health struct {
	Kubelet   string `json:"kubelet,omitempty"`
	APIServer string `json:"apiServer,omitempty"`
	Disk      string `json:"disk,omitempty"` // it is nearly full
}

// answerTimeout is how long an agent may take to answer a question. It looks at the guest for two seconds at most.
const answerTimeout = 3 * time.Second

// ErrSilent means that an agent is there and does not answer, as one that was stopped by a signal.
var ErrSilent = errors.New("the agent does not answer")

// Client talks to one agent. It is safe for concurrent use and holds nothing open between calls.
type Client struct {
	socket string
	http   http.Client
}

// Dial returns a client of the agent behind socket. It never fails; the client's calls do when no agent answers.
func Dial(socket string) *Client {
	return &Client{socket: socket, http: http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Status asks the agent how it and the guest are; it takes at most three seconds. An error means that no agent answers;
// it is ErrSilent when there is one.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var status Status
	err := c.question(ctx, http.MethodGet, "/v1/status", nil, &status)
	return status, err
}

// ping is Status without a look at the guest.
func (c *Client) ping(ctx context.Context) error {
	return c.question(ctx, http.MethodGet, "/v1/ping", nil, nil)
}

// question is a call that the agent answers at once, and so one with a time limit.
func (c *Client) question(ctx context.Context, method, path string, body []byte, into any) error {
	limited, cancel := context.WithTimeoutCause(ctx, answerTimeout, ErrSilent)
	defer cancel()
	err := c.call(limited, method, path, body, into)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(limited), ErrSilent) {
		return fmt.Errorf("ask the agent behind %s: %w within %s", c.socket, ErrSilent, answerTimeout)
	}
	return err
}

// request is a call that may take as long as what it asks for. Whether the agent answers at all is found out first.
func (c *Client) request(ctx context.Context, method, path string, body []byte) error {
	if err := c.ping(ctx); err != nil {
		return err
	}
	return c.call(ctx, method, path, body, nil)
}

// Gone reports whether no agent is there any more. One that is slow to answer is there.
func (c *Client) Gone(ctx context.Context) bool { return absent(c.ping(ctx)) }

// WatchKubernetes makes the agent publish the Services of the cluster that the kubeconfig's current context names, from
// now on. It takes the place of an earlier call and does nothing when it is the same. It does not wait for the cluster: an
// API server that does not answer is tried again until it does.
func (c *Client) WatchKubernetes(ctx context.Context, kubeconfig []byte) error {
	return c.request(ctx, http.MethodPut, "/v1/kubernetes", kubeconfig)
}

// Published returns once the Services of the cluster that the agent watches have been looked at and have their ports; at once when
// it watches none.
func (c *Client) Published(ctx context.Context) error {
	err := c.request(ctx, http.MethodGet, "/v1/published", nil)
	if errors.Is(err, ErrUnknown) {
		return nil // an agent that an earlier skiff has started does not tell
	}
	return err
}

// AutoPause makes the agent pause the machine when nobody has asked anything of it for that long, from now on, and wake it
// for the next who does. With 0 it lets the machine go: it pauses it no more, and one that is paused is left so and not woken.
func (c *Client) AutoPause(ctx context.Context, limit time.Duration) error {
	return c.put(ctx, "/v1/auto-pause", limit)
}

// HostAccess makes the agent let the machine reach those services on this host's 127.0.0.1, and no others, from now on. What is
// open stays open. It fails with ErrUnknown where an earlier skiff has started the agent, and for a machine that is reached over
// SSH, unless access is none.
func (c *Client) HostAccess(ctx context.Context, access network.Access) error {
	return c.put(ctx, "/v1/host-access", access)
}

// InsecureRegistries lets the mirror ask those registries, and no others, without TLS and with a certificate that this host does
// not trust, from now on; see package mirror for how they are named. It fails with ErrUnknown where an earlier skiff has started
// the agent.
func (c *Client) InsecureRegistries(ctx context.Context, registries []string) error {
	return c.put(ctx, "/v1/insecure-registries", registries)
}

// put gives the agent a value that takes the place of the one it has.
func (c *Client) put(ctx context.Context, path string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return c.request(ctx, http.MethodPut, path, body)
}

// Wake wakes a machine that is asleep, as somebody does who asks something of it, and returns once it is awake; nil when
// it is not asleep.
func (c *Client) Wake(ctx context.Context) error {
	return c.request(ctx, http.MethodPost, "/v1/wake", nil)
}

// Shutdown asks the agent to end and returns once it has let go of its sockets and ports; nil when none runs, and ErrSilent when it
// does not answer. See Stop for an end in any case.
func (c *Client) Shutdown(ctx context.Context) error {
	err := c.request(ctx, http.MethodPost, "/v1/shutdown", nil)
	if absent(err) {
		return nil
	}
	return err
}

// ErrUnknown means that the agent has never heard of such a request: another version of skiff has started it.
var ErrUnknown = errors.New("the agent does not know what it was asked")

// absent reports whether err says that nobody listens on the socket.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

func (c *Client) call(ctx context.Context, method, path string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask the agent: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body) // of shutdown it ends when the agent does
	if err != nil {
		return fmt.Errorf("ask the agent behind %s: %w", c.socket, err)
	}
	if response.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%s %s: %w", method, path, ErrUnknown)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the agent refused: %s", strings.TrimSpace(string(answer)))
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return nil
}

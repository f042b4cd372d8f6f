package dashboard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/skiff-k8s/skiff/fail"
)

// Forward is a port of this computer's loopback that leads to a port of a pod. Its JSON is what the frontend knows from its
// desktop application; a port is text there.
type Forward struct {
	ID               string `json:"id"`
	Cluster          string `json:"cluster"`
	Namespace        string `json:"namespace"`
	Pod              string `json:"pod"`
	Service          string `json:"service,omitempty"`
	ServiceNamespace string `json:"serviceNamespace,omitempty"`
	TargetPort       string `json:"targetPort"`
	Port             string `json:"port"`
	Status           string `json:"status"` // "Running" or "Stopped"
	Error            string `json:"error,omitempty"`
}

// forwards are the port forwards that the page began. They end with the dashboard.
type forwards struct {
	apis *transports

	mu   sync.Mutex
	ctx  context.Context //nolint:containedctx // of Serve: a port forward outlives the request that begins it
	list []*forward
	next int
	work sync.WaitGroup
}

type forward struct {
	Forward
	stop context.CancelFunc
}

func newForwards(apis *transports) *forwards { return &forwards{apis: apis} }

func (f *forwards) within(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ctx = ctx
}

// close waits until every port forward has ended; the context of within must have.
func (f *forwards) close() { f.work.Wait() }

func (s *Server) forwarding(mux *http.ServeMux) {
	mux.HandleFunc("GET /clusters/{cluster}/portforward/list", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, s.forwards.all())
	})
	mux.HandleFunc("POST /clusters/{cluster}/portforward", func(w http.ResponseWriter, r *http.Request) {
		var asked Forward
		if err := readJSON(w, r, &asked); err != nil {
			failed(w, err)
			return
		}
		asked.Cluster = s.options.Profile
		begun, err := s.forwards.begin(r.Context(), asked)
		if err != nil {
			failed(w, err)
			return
		}
		answer(w, http.StatusOK, begun)
	})
	mux.HandleFunc("DELETE /clusters/{cluster}/portforward", func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			ID   string
			Stop bool `json:"stopOrDelete"` // else it is forgotten, too
		}
		if err := readJSON(w, r, &asked); err != nil {
			failed(w, err)
			return
		}
		s.forwards.end(asked.ID, !asked.Stop)
		answer(w, http.StatusOK, "stopped")
	})
}

func (f *forwards) all() []Forward {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]Forward, len(f.list))
	for i, one := range f.list {
		list[i] = one.Forward
	}
	return list
}

// begin starts a port forward and returns once its port is open. Without a port it gets a free one; a taken one is
// fail.PortInUse.
func (f *forwards) begin(ctx context.Context, asked Forward) (Forward, error) {
	op := fmt.Sprintf("forward a port to pod %s/%s", asked.Namespace, asked.Pod)
	local, err := portNumber(asked.Port, 0)
	if err != nil {
		return Forward{}, fail.New(fail.FlagInvalid, op, "%w", err)
	}
	target, err := portNumber(asked.TargetPort, 1)
	if err != nil {
		return Forward{}, fail.New(fail.FlagInvalid, op, "%w", err)
	}
	if asked.Namespace == "" || asked.Pod == "" || strings.ContainsAny(asked.Namespace+asked.Pod, "/?#%") {
		return Forward{}, fail.New(fail.FlagInvalid, op, "it names no pod")
	}
	dialer, err := f.dialer(asked)
	if err != nil {
		return Forward{}, fmt.Errorf("%s: %w", op, err)
	}
	f.mu.Lock()
	within := f.ctx
	f.mu.Unlock()
	if within == nil || within.Err() != nil {
		return Forward{}, fail.New(fail.Interrupted, op, "the dashboard ends")
	}
	within, stop := context.WithCancel(within)
	ready := make(chan struct{})
	forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("%d:%d", local, target)}, within.Done(), ready, io.Discard, io.Discard)
	if err != nil {
		stop()
		return Forward{}, fmt.Errorf("%s: %w", op, err)
	}
	ended := make(chan error, 1)
	f.work.Go(func() {
		ended <- forwarder.ForwardPorts()
		stop()
	})
	select {
	case <-ready:
	case err := <-ended:
		if err != nil && strings.Contains(err.Error(), "unable to listen on") { // the package has no type for it
			return Forward{}, fail.New(fail.PortInUse, op, "port %d of 127.0.0.1 is taken", local).WithHint("Choose another port, or none for a free one.")
		}
		return Forward{}, fmt.Errorf("%s: %w", op, errors.Join(err, within.Err()))
	case <-ctx.Done():
		stop()
		return Forward{}, context.Cause(ctx)
	}
	ports, err := forwarder.GetPorts()
	if err != nil || len(ports) != 1 {
		stop()
		return Forward{}, fmt.Errorf("%s: read its port: %w", op, err)
	}
	asked.Port, asked.Status, asked.Error = strconv.Itoa(int(ports[0].Local)), "Running", ""
	one := f.add(asked, stop)
	f.work.Go(func() {
		err := <-ended
		f.mu.Lock()
		defer f.mu.Unlock()
		one.Status = "Stopped"
		if err != nil { // it was not stopped
			one.Error = err.Error()
		}
	})
	return asked.named(one), nil
}

func (asked Forward) named(one *forward) Forward {
	asked.ID = one.ID
	return asked
}

// add puts a port forward into the list, in place of one with its ID.
func (f *forwards) add(begun Forward, stop context.CancelFunc) *forward {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := &forward{begun, stop}
	if i := slices.IndexFunc(f.list, func(other *forward) bool { return other.ID == begun.ID }); i >= 0 {
		f.list[i].stop()
		f.list[i] = one
		return one
	}
	if f.next++; one.ID == "" {
		one.ID = strconv.Itoa(f.next)
	}
	f.list = append(f.list, one)
	return one
}

// end stops the port forward with that ID, and forgets it when asked to; one that is not there is no error.
func (f *forwards) end(id string, forget bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.list, func(one *forward) bool { return one.ID == id })
	if i < 0 {
		return
	}
	f.list[i].stop()
	f.list[i].Status = "Stopped"
	if forget {
		f.list = slices.Delete(f.list, i, i+1)
	}
}

// dialer reaches the pod through the API server.
func (f *forwards) dialer(asked Forward) (httpstream.Dialer, error) {
	server, _, config, err := f.apis.get()
	if err != nil {
		return nil, err
	}
	target := server.JoinPath("api/v1/namespaces", url.PathEscape(asked.Namespace), "pods", url.PathEscape(asked.Pod), "portforward")
	return portforward.NewSPDYOverWebsocketDialerForStreaming(target, config)
}

// portNumber reads a port; an empty text is 0.
func portNumber(text string, least int) (int, error) {
	if text == "" {
		text = "0"
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || int(number) < least {
		return 0, fmt.Errorf("%q is not a port: it is a number from %d to 65535", text, least)
	}
	return int(number), nil
}

package dashboard

import (
	"context"
	"net/http"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/skiff-k8s/skiff/fail"
)

// drains remembers how the last drain of each node went, which the page asks for every second.
type drains struct {
	mu   sync.Mutex
	last map[string]string // a node: "running", "success", or "error: " and why
}

func newDrains() *drains { return &drains{last: map[string]string{}} }

func (d *drains) set(node, how string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last[node] = how
}

func (d *drains) get(node string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last[node]
}

// draining adds what the frontend's page of a node asks for: a drain continues after the request that began it.
func (s *Server) draining(mux *http.ServeMux) {
	mux.HandleFunc("POST /drain-node", func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ Cluster, NodeName string }
		if err := readJSON(w, r, &asked); err != nil {
			failed(w, err)
			return
		}
		if asked.Cluster != s.options.Profile || len(validation.IsDNS1123Subdomain(asked.NodeName)) > 0 {
			failed(w, fail.New(fail.FlagInvalid, "drain a node", "cluster %q has no node %q", asked.Cluster, asked.NodeName))
			return
		}
		s.drains.set(asked.NodeName, "running")
		if err := s.jobs.aside(func(ctx context.Context) { s.drain(ctx, asked.NodeName) }); err != nil {
			failed(w, err)
			return
		}
		answer(w, http.StatusOK, map[string]string{"message": "Drain node request submitted successfully"})
	})
	mux.HandleFunc("GET /drain-node-status", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, map[string]string{"id": s.drains.get(r.FormValue("nodeName")), "cluster": s.options.Profile})
	})
}

func (s *Server) drain(ctx context.Context, node string) {
	tool, kubeconfig, err := s.options.Clusters.Kubectl(ctx, s.options.Profile)
	if err == nil {
		_, err = runKubectl(ctx, tool, kubeconfig, nil, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=5m")
	}
	if err != nil {
		s.drains.set(node, "error: "+err.Error())
		return
	}
	s.drains.set(node, "success")
}

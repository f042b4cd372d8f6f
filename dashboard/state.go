package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/fail"
)

// Phase is a state of the cluster as the page tells them apart.
type Phase string

// The phases.
const (
	Running  Phase = "running"  // the API server answers
	Starting Phase = "starting" // the machine runs, and the API server does not answer yet
	Paused   Phase = "paused"
	Stopped  Phase = "stopped"
	Absent   Phase = "absent" // there is no such cluster: it was deleted
	Broken   Phase = "broken" // State.Note says why
)

// State is what the page knows of the cluster without its API server.
type State struct {
	Profile    string `json:"profile"`
	Phase      Phase  `json:"phase"`
	Note       string `json:"note,omitempty"`       // what is wrong and what to do about it
	Address    string `json:"address,omitempty"`    // where the cluster publishes ingress and Services
	Kubernetes string `json:"kubernetes,omitempty"` // version
	Version    string `json:"version"`              // of skiff
	Job        *Job   `json:"job,omitempty"`        // the last that the page began
}

// state looks at the cluster.
func (s *Server) state(ctx context.Context) State {
	state := State{Profile: s.options.Profile, Version: s.options.Version, Phase: Broken, Job: s.jobs.last()}
	status, err := s.options.Clusters.Status(ctx, s.options.Profile)
	if err != nil {
		state.Note = err.Error()
		return state
	}
	state.Note = status.Note
	switch status.Host {
	case cluster.Nonexistent:
		state.Phase = Absent
	case cluster.Stopped:
		state.Phase = Stopped
	case cluster.Paused:
		state.Phase = Paused
	case cluster.Running:
		if state.Phase = Starting; status.APIServer == cluster.Running {
			state.Phase = Running
		}
	}
	if c, err := s.options.Clusters.Load(s.options.Profile); err == nil {
		state.Address, state.Kubernetes = c.Address.String(), c.KubernetesVersion
	}
	return state
}

// lookEvery is how often the cluster is looked at for a page that listens. A look takes some hundredths of a second.
const lookEvery = time.Second

// states streams the state whenever it changes, as server-sent events (HTML, section 9.2).
func (s *Server) states(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	send := http.NewResponseController(w)
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	var last []byte
	for {
		changed := s.jobs.changed()
		if next, err := json.Marshal(s.state(r.Context())); err == nil && string(next) != string(last) && r.Context().Err() == nil {
			if _, err := fmt.Fprintf(w, "data: %s\n\n", next); err != nil {
				return
			}
			if err := send.Flush(); err != nil {
				return
			}
			last = next
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		case <-ticks.C:
		}
	}
}

// Problem is a failure as the page shows it.
type Problem struct {
	ID      string `json:"id,omitempty"` // as of package fail
	Message string `json:"message"`
	Advice  string `json:"advice,omitempty"`
	Next    string `json:"next,omitempty"`   // command to run next
	Output  string `json:"output,omitempty"` // last lines of what a command printed
}

func problemOf(err error) *Problem {
	if err == nil {
		return nil
	}
	problem := &Problem{Message: err.Error()}
	if known, ok := asFailure(err); ok {
		kind := fail.Lookup(known.ID)
		problem.ID, problem.Advice, problem.Next, problem.Output = string(known.ID), known.Hint, known.Next, known.Output
		if problem.Advice == "" {
			problem.Advice = kind.Advice
		}
	}
	if refused, ok := errors.AsType[*kubectlError](err); ok {
		problem.Output = refused.done
	}
	return problem
}

// statusOf is the HTTP status that says the same as a failure.
func statusOf(err error) int {
	if _, refused := errors.AsType[*kubectlError](err); refused {
		return http.StatusUnprocessableEntity
	}
	known, ok := asFailure(err)
	if !ok {
		return http.StatusInternalServerError
	}
	switch fail.Lookup(known.ID).Code {
	case fail.CodeUsage, fail.CodeConfig:
		return http.StatusBadRequest
	case fail.CodeNotFound:
		return http.StatusNotFound
	case fail.CodeConflict:
		return http.StatusConflict
	default:
		return http.StatusInternalServerError
	}
}

// answer writes a value as JSON.
func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the browser has gone when it fails
}

// failed answers with why something could not be done.
func failed(w http.ResponseWriter, err error) { answer(w, statusOf(err), problemOf(err)) }

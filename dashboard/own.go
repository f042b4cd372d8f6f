package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/fail"
)

// restoreTimeout limits how long a restored cluster may take until it can be used, as the command's does.
const restoreTimeout = 6 * time.Minute

// smallBody bounds what the page sends but for manifests, in bytes.
const smallBody = 64 << 10

// own adds what the page asks of skiff itself.
func (s *Server) own(mux *http.ServeMux) {
	profile, clusters := s.options.Profile, s.options.Clusters
	mux.HandleFunc("GET /skiff/state", func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, s.state(r.Context())) })
	mux.HandleFunc("GET /skiff/states", s.states)
	mux.HandleFunc("POST /skiff/start", func(w http.ResponseWriter, _ *http.Request) {
		s.begin(w, "start", "", s.options.Start)
	})
	mux.HandleFunc("GET /skiff/addons", func(w http.ResponseWriter, r *http.Request) {
		list, err := clusters.Addons(r.Context(), profile)
		listed(w, list, err)
	})
	mux.HandleFunc("POST /skiff/addons/{name}/{verb}", func(w http.ResponseWriter, r *http.Request) {
		name, change := r.PathValue("name"), clusters.EnableAddon
		switch r.PathValue("verb") {
		case "enable":
		case "disable":
			change = clusters.DisableAddon
		default:
			http.NotFound(w, r)
			return
		}
		s.begin(w, r.PathValue("verb"), name, func(ctx context.Context, sink cluster.Sink) error { return change(ctx, profile, name, sink) })
	})
	mux.HandleFunc("GET /skiff/snapshots", func(w http.ResponseWriter, r *http.Request) {
		list, err := clusters.Snapshots(r.Context(), profile)
		listed(w, list, err)
	})
	mux.HandleFunc("POST /skiff/snapshots", s.saveSnapshot)
	mux.HandleFunc("POST /skiff/snapshots/{name}/restore", func(w http.ResponseWriter, r *http.Request) {
		o := cluster.RestoreOptions{Profile: profile, Name: r.PathValue("name"), WaitTimeout: restoreTimeout}
		s.begin(w, "restore", o.Name, func(ctx context.Context, sink cluster.Sink) error {
			_, err := clusters.RestoreSnapshot(ctx, o, sink)
			return err
		})
	})
	mux.HandleFunc("DELETE /skiff/snapshots/{name}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		s.begin(w, "delete", name, func(ctx context.Context, sink cluster.Sink) error {
			return clusters.DeleteSnapshot(ctx, profile, name, sink)
		})
	})
	mux.HandleFunc("POST /skiff/apply", s.apply)
}

// saveSnapshot begins to save a snapshot with the name and description in the body, both of which may be empty.
func (s *Server) saveSnapshot(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Name, Description string }
	if err := readJSON(w, r, &asked); err != nil {
		failed(w, err)
		return
	}
	if asked.Name != "" {
		if err := cluster.ValidateSnapshot(asked.Name); err != nil {
			failed(w, err)
			return
		}
	}
	if strings.ContainsFunc(asked.Description, func(c rune) bool { return c < ' ' }) {
		failed(w, fail.New(fail.FlagInvalid, "read the description", "it has control characters; it is one line of text"))
		return
	}
	o := cluster.SaveOptions{Profile: s.options.Profile, Name: asked.Name, Description: asked.Description}
	s.begin(w, "save", asked.Name, func(ctx context.Context, sink cluster.Sink) error {
		_, err := s.options.Clusters.SaveSnapshot(ctx, o, sink)
		return err
	})
}

// begin starts a job and answers with it; its progress is part of the state.
func (s *Server) begin(w http.ResponseWriter, what, about string, do func(context.Context, cluster.Sink) error) {
	job, err := s.jobs.begin(what, about, do)
	if err != nil {
		failed(w, err)
		return
	}
	answer(w, http.StatusAccepted, job)
}

// config is what the frontend asks for first: the clusters that there are.
func (s *Server) config(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"clusters": []map[string]any{{
			"name": s.options.Profile, "server": "", "auth_type": "", "meta_data": map[string]any{"source": "skiff", "namespace": "default"},
		}},
		"isDynamicClusterEnabled": false, "allowKubeconfigChanges": false, "defaultLightTheme": "", "defaultDarkTheme": "", "forceTheme": "",
	})
}

// listed answers with a list; an empty one is [] and not null.
func listed[T any](w http.ResponseWriter, list []T, err error) {
	if err != nil {
		failed(w, err)
		return
	}
	if list == nil {
		list = []T{}
	}
	answer(w, http.StatusOK, list)
}

// readJSON reads a small body.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, smallBody)).Decode(into); err != nil {
		return fail.New(fail.FlagInvalid, "read the request", "%w", err)
	}
	return nil
}

func asFailure(err error) (*fail.Error, bool) { return errors.AsType[*fail.Error](err) }

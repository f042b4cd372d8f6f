package addons

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
)

// fakeAPI is the part of an API server that this package uses: apply, get, delete, list and watch of any kind.
type fakeAPI struct {
	t        *testing.T
	config   *rest.Config
	mu       sync.Mutex
	objects  map[string]*unstructured.Unstructured // by path
	changed  chan struct{}                         // closed and replaced at each change
	log      []string                              // "METHOD path" of what changes something
	refuse   map[string][]int                      // path → statuses for the next requests to it
	onDelete func(object *unstructured.Unstructured) (keep bool)
}

func newFakeAPI(t *testing.T) *fakeAPI {
	t.Helper()
	api := &fakeAPI{t: t, objects: map[string]*unstructured.Unstructured{}, changed: make(chan struct{}), refuse: map[string][]int{}}
	server := httptest.NewServer(api)
	t.Cleanup(func() {
		server.CloseClientConnections() // ends the watches
		server.Close()
	})
	api.config = &rest.Config{Host: server.URL}
	return api
}

func (f *fakeAPI) set(path string, object map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects[path] = &unstructured.Unstructured{Object: object}
	f.signal()
}

func (f *fakeAPI) get(path string) *unstructured.Unstructured {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.objects[path]
}

func (f *fakeAPI) remove(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, path)
	f.signal()
}

func (f *fakeAPI) signal() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeAPI) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.log...)
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	f.mu.Lock()
	if statuses := f.refuse[r.URL.Path]; len(statuses) > 0 {
		f.refuse[r.URL.Path] = statuses[1:]
		f.mu.Unlock()
		status(w, statuses[0])
		return
	}
	if r.Method != http.MethodGet {
		f.log = append(f.log, r.Method+" "+r.URL.Path)
	}
	object := f.objects[r.URL.Path]
	switch {
	case r.URL.Query().Get("watch") != "":
		f.mu.Unlock()
		f.watch(w, r)
		return
	case r.Method == http.MethodPatch:
		f.apply(w, r)
	case object != nil && r.Method == http.MethodDelete:
		if f.onDelete == nil || !f.onDelete(object) {
			delete(f.objects, r.URL.Path)
		}
		f.signal()
		status(w, http.StatusOK)
	case object != nil:
		_ = json.NewEncoder(w).Encode(object)
	case isCollection(r.URL.Path):
		_ = json.NewEncoder(w).Encode(map[string]any{
			"apiVersion": "v1", "kind": "List", "metadata": map[string]any{"resourceVersion": "1"}, "items": f.selected(r),
		})
	default:
		status(w, http.StatusNotFound)
	}
	f.mu.Unlock()
}

func (f *fakeAPI) apply(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if got := r.Header.Get("Content-Type"); got != "application/apply-patch+yaml" || query.Get("fieldManager") != "skiff" || query.Get("force") != "true" {
		f.t.Errorf("got a %s request with %v, want a forced server-side apply by skiff", got, query)
	}
	object := &unstructured.Unstructured{}
	if err := json.NewDecoder(r.Body).Decode(object); err != nil {
		f.t.Errorf("apply %s: %v", r.URL.Path, err)
	}
	if query.Get("dryRun") == "" {
		f.objects[r.URL.Path] = object
		f.signal()
	}
	_ = json.NewEncoder(w).Encode(object)
}

// selected returns the objects of a collection, of all namespaces where the path names none.
func (f *fakeAPI) selected(r *http.Request) []any {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		f.t.Error(err)
	}
	_, name, byName := strings.Cut(r.URL.Query().Get("fieldSelector"), "metadata.name=")
	collection := strings.Split(r.URL.Path, "/")
	items := []any{}
	for path, object := range f.objects {
		at := strings.LastIndex(path, "/")
		inIt := path[:at] == r.URL.Path
		if !strings.Contains(r.URL.Path, "/namespaces/") {
			prefix := strings.Join(collection[:len(collection)-1], "/")
			inIt = inIt || strings.HasPrefix(path, prefix+"/namespaces/") && strings.HasSuffix(path[:at], "/"+collection[len(collection)-1])
		}
		if inIt && (!byName || object.GetName() == name) && selector.Matches(labels.Set(object.GetLabels())) {
			items = append(items, object)
		}
	}
	return items
}

// watch reports the object anew after each change, or that it is gone. It ends after a while, as watches do.
func (f *fakeAPI) watch(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	for range 3 {
		f.mu.Lock()
		event, changed := map[string]any{"type": "DELETED", "object": map[string]any{"apiVersion": "v1", "kind": "Gone", "metadata": map[string]any{}}}, f.changed
		if items := f.selected(r); len(items) > 0 {
			event = map[string]any{"type": "MODIFIED", "object": items[0]}
		}
		_ = json.NewEncoder(w).Encode(event)
		f.mu.Unlock()
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func status(w http.ResponseWriter, code int) {
	w.WriteHeader(code)
	body := map[string]any{"apiVersion": "v1", "kind": "Status", "code": code, "reason": strings.ReplaceAll(http.StatusText(code), " ", "")}
	if code < 300 {
		body["status"] = "Success"
	} else {
		body["status"], body["message"] = "Failure", fmt.Sprintf("status %d", code)
	}
	_ = json.NewEncoder(w).Encode(body)
}

// isCollection says whether the path's last step is a resource: one that no object has as name.
func isCollection(path string) bool {
	steps := strings.Split(strings.TrimPrefix(strings.TrimPrefix(path, "/apis"), "/api"), "/")
	at := 2 // "", version, …
	if strings.HasPrefix(path, "/apis") {
		at = 3
	}
	if len(steps) > at+2 && steps[at] == "namespaces" {
		at += 2
	}
	return len(steps) == at+1
}

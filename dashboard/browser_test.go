//go:build browser

package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/cluster"
)

// TestBrowser runs the scripts of web/test/browser in Chromium, each with a dashboard of its own on a cluster of stand-ins. It
// needs the built page, Node and Chromium; that one is missing is a failure.
func TestBrowser(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join("web", "test", "browser", "*.test.mjs"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("look for scripts: got %q and %v, want some", scripts, err)
	}
	for _, script := range scripts {
		t.Run(filepath.Base(script), func(t *testing.T) { browse(t, script) })
	}
}

// longestScript is several times what the longest script takes, so that one that hangs is named.
const longestScript = 8 * time.Minute

func browse(t *testing.T, script string) {
	t.Helper()
	api := newFakeAPI(t)
	api.fill(3)
	s := serve(t, api.server, func(o *Options) { o.Assets = nil })
	if _, err := Licenses(); err != nil {
		t.Fatalf("the page is not built: %v; run make dashboard", err)
	}
	control := httptest.NewServer(controls(t, s, api))
	t.Cleanup(control.Close)
	s.clusters.tool = kubectlOf(t, control.URL)
	ctx, cancel := context.WithTimeout(t.Context(), longestScript)
	defer cancel()
	command := exec.CommandContext(ctx, "node", script)
	command.WaitDelay = 10 * time.Second // its browser holds the same output
	command.Env = append(os.Environ(), "SKIFF_CONTROL="+control.URL, "SKIFF_SCREENSHOTS="+screenshots(t))
	command.Stdout, command.Stderr = t.Output(), t.Output()
	if err := command.Run(); err != nil {
		t.Errorf("%s: %v", script, err)
	}
}

// screenshots is the folder that scripts write to: SKIFF_SCREENSHOTS, or one that is removed.
func screenshots(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("SKIFF_SCREENSHOTS")
	if dir == "" {
		return t.TempDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// kubectlOf writes a kubectl that works on the stand-in of the API server.
func kubectlOf(t *testing.T, control string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubectl")
	script := "#!/bin/sh\nif said=$(curl --silent --fail-with-body --data-binary @- '" + control + "/kubectl?verb='\"$1\"); then echo \"$said\"; else echo \"$said\" >&2; exit 1; fi\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// controls lets a script change the world behind the page.
func controls(t *testing.T, s *served, api *fakeAPI) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/kubectl", api.kubectl)
	mux.HandleFunc("/url", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s.URL()) })
	mux.HandleFunc("/stop-api", func(http.ResponseWriter, *http.Request) { api.stop() })
	mux.HandleFunc("/start-api", func(http.ResponseWriter, *http.Request) {
		api.start(api.address)
		writeKubeconfig(t, s.options.Kubeconfig, api.server)
	})
	mux.HandleFunc("/state", func(_ http.ResponseWriter, r *http.Request) {
		s.clusters.set(cluster.Status{Host: r.FormValue("host"), APIServer: r.FormValue("api")})
	})
	mux.HandleFunc("/add-pod", func(_ http.ResponseWriter, r *http.Request) {
		api.put("api/v1/pods", pod("default", r.FormValue("name"), "example.com/web:1", object{"app": "web"}))
	})
	mux.HandleFunc("/deny", func(_ http.ResponseWriter, r *http.Request) {
		api.mu.Lock()
		defer api.mu.Unlock()
		api.denied[r.FormValue("resource")] = true
	})
	mux.HandleFunc("/touch-settings", func(http.ResponseWriter, *http.Request) {
		api.put("api/v1/configmaps", object{"metadata": object{"name": "settings", "namespace": "default"}, "data": object{"colour": "red"}})
	})
	mux.HandleFunc("/fill", func(_ http.ResponseWriter, r *http.Request) {
		pods, _ := strconv.Atoi(r.FormValue("pods"))
		api.fill(pods)
	})
	// It answers when each watch that has begun by now has ended, where it does not say how long it lasts; with how many have begun.
	mux.HandleFunc("/request-timeout", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(2 * minRequestTimeout):
		case <-r.Context().Done():
		}
		api.mu.Lock()
		defer api.mu.Unlock()
		fmt.Fprint(w, api.watches[r.FormValue("path")])
	})
	mux.HandleFunc("/measure", func(_ http.ResponseWriter, r *http.Request) {
		api.mu.Lock()
		defer api.mu.Unlock()
		api.measures = r.FormValue("how")
	})
	mux.HandleFunc("/catalog", func(_ http.ResponseWriter, r *http.Request) {
		s.clusters.mu.Lock()
		defer s.clusters.mu.Unlock()
		s.clusters.addons = append(s.clusters.addons, cluster.AddonStatus{Name: r.FormValue("name"), Description: "An addon of the test", Profile: "dev"})
	})
	// What changes the cluster takes from one to the other.
	mux.HandleFunc("/hold", func(http.ResponseWriter, *http.Request) {
		s.clusters.mu.Lock()
		defer s.clusters.mu.Unlock()
		s.clusters.hold = make(chan struct{})
	})
	mux.HandleFunc("/release", func(http.ResponseWriter, *http.Request) {
		s.clusters.mu.Lock()
		defer s.clusters.mu.Unlock()
		close(s.clusters.hold)
		s.clusters.hold = nil
	})
	mux.HandleFunc("/print", func(w http.ResponseWriter, r *http.Request) {
		bytes, _ := strconv.Atoi(r.FormValue("bytes"))
		api.print(bytes / logLineSize)
		lines, _ := api.printed()
		fmt.Fprint(w, lines)
	})
	// It changes Pods so many times a second, for so many seconds; the last change says so in a label.
	mux.HandleFunc("/storm", func(_ http.ResponseWriter, r *http.Request) {
		rate, _ := strconv.Atoi(r.FormValue("rate"))
		seconds, _ := strconv.Atoi(r.FormValue("seconds"))
		ticks := time.NewTicker(time.Second / time.Duration(rate))
		defer ticks.Stop()
		for i := range rate * seconds {
			<-ticks.C
			one := pod("default", fmt.Sprintf("storm-%02d", i%20), "example.com/web:1", object{"app": "web"})
			one["status"].(object)["containerStatuses"].([]any)[0].(object)["restartCount"] = i
			api.put("api/v1/pods", one)
		}
	})
	mux.HandleFunc("/calls", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s.clusters.called()) })
	return mux
}

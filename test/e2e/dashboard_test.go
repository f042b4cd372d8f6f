//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// showsDashboard walks the tutorial in the page of the dashboard, in Chromium, on a cluster with ingress, and in the long form
// then what happens to a cluster while its page is open. It leaves four Pods of the example.
func (s *session) showsDashboard(address string) {
	s.t.Helper()
	s.run("dashboard", "--licenses") // without the page it says how to build it
	s.run("kubectl", "delete", "deployment/meow", "service/meow-svc", "ingress/meow-ingress", "--ignore-not-found")
	s.apply(shellPod("shell", "kennship/http-echo:latest", "IfNotPresent", "exec /usr/bin/sleep 10000"))
	s.run("kubectl", "wait", "pod/shell", "--for=condition=Ready", "--timeout=3m")
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	dashboard := exec.CommandContext(ctx, s.binary, "dashboard", "--url")
	dashboard.Cancel = func() error { return dashboard.Process.Signal(syscall.SIGINT) }
	stdout, err := dashboard.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := dashboard.Start(); err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = dashboard.Wait()
	}()
	url, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		s.t.Fatalf("read the dashboard's address: %v", err)
	}
	shots := os.Getenv("SKIFF_SCREENSHOTS")
	if shots == "" {
		shots = s.t.TempDir()
	}
	path, err := filepath.Abs(manifest)
	if err != nil {
		s.t.Fatal(err)
	}
	scripts := []string{"tutorial"}
	if !testing.Short() {
		scripts = append(scripts, "cluster")
	}
	for _, script := range scripts {
		browser := exec.CommandContext(s.t.Context(), "node", "test/real/"+script+".test.mjs")
		browser.Dir = "../../dashboard/web"
		browser.Env = append(os.Environ(), "SKIFF="+s.binary, "SKIFF_URL="+strings.TrimSpace(url), "SKIFF_ADDRESS="+address,
			"SKIFF_MANIFEST="+path, "SKIFF_SHELL=shell", "SKIFF_SCREENSHOTS="+shots)
		began := time.Now()
		out, err := browser.CombinedOutput()
		if err != nil {
			s.t.Fatalf("%s in the page: %v\n%s", script, err, out)
		}
		s.note("in the dashboard's page: "+script, time.Since(began))
		s.t.Logf("%s", out)
		url = s.run("dashboard", "--url") // of the same dashboard, for the next browser
	}
}

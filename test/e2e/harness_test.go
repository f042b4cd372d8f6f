//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// session is one user at one terminal: a skiff binary, a home folder of its own and a kubeconfig that holds the cluster of
// somebody else.
type session struct {
	t          *testing.T
	binary     string
	home       string
	kubeconfig string
	artifacts  string
	phases     []phase
	failure    string   // of the command that ended the test
	evidence   []string // patterns of files outside of home that tell why a test failed
	end        func()   // keeps what tells why the test failed, deletes the clusters and the home; the first call does
}

// phase is how long one thing took.
type phase struct {
	name string
	took time.Duration
}

// output is what a command printed, and how it ended.
type output struct {
	stdout, stderr string
	code           int
}

// others is a kubeconfig with a cluster that is not skiff's.
const others = `apiVersion: v1
kind: Config
current-context: elsewhere
clusters:
- name: elsewhere
  cluster:
    server: https://192.0.2.1:6443
contexts:
- name: elsewhere
  context:
    cluster: elsewhere
    user: somebody
users:
- name: somebody
  user:
    token: not-a-secret
`

// newSession builds skiff and gives it an empty home. Where the guest image comes from says SKIFF_TEST_IMAGE.
func newSession(t *testing.T) *session {
	t.Helper()
	image := os.Getenv("SKIFF_TEST_IMAGE")
	if image == "" {
		t.Fatal("SKIFF_TEST_IMAGE must name the folder of a guest image; `make e2e` sets it")
	}
	dir, err := os.MkdirTemp("", "skiff-e2e-") //nolint:usetesting // t.TempDir is gone before the artifacts are kept, and its long name fits no socket
	if err != nil {
		t.Fatal(err)
	}
	s := &session{
		t: t, binary: filepath.Join(dir, "skiff"), home: filepath.Join(dir, "home"),
		kubeconfig: filepath.Join(dir, "kubeconfig"), artifacts: filepath.Join(os.TempDir(), "skiff-e2e-artifacts"),
	}
	t.Setenv("SKIFF_HOME", s.home)
	t.Setenv("SKIFF_IMAGE", image)
	t.Setenv("KUBECONFIG", s.kubeconfig)
	t.Setenv("SKIFF_WARM_SPARE", "false") // tests that want one build it; in the background it would be in the way of the others
	t.Setenv("SKIFF_WAIT_TIMEOUT", "15m") // a busy emulated machine is a matter of speed, which is measured elsewhere
	if err := os.WriteFile(s.kubeconfig, []byte(others), 0o600); err != nil {
		t.Fatal(err)
	}
	// As `make build` does, so that what that has compiled is used again.
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "libvirt_dlopen,netgo,osusergo", "-trimpath", "-buildvcs=false",
		"-o", s.binary, "github.com/skiff-k8s/skiff/cmd/skiff")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build skiff: %v\n%s", err, out)
	}
	s.end = sync.OnceFunc(func() {
		if t.Failed() {
			s.keepArtifacts()
		}
		s.report()
		if s.failure != "" {
			t.Logf("the failure was: %s", s.failure) // once more, as the end of a long log is what is read first
		}
		_, _ = s.try(context.Background(), "delete", "--all")
		_, _ = s.try(context.Background(), "spare", "delete")
		_ = os.RemoveAll(dir)
	})
	t.Cleanup(s.end)
	return s
}

// try runs skiff and returns what came of it; the error is that of starting it.
func (s *session) try(ctx context.Context, args ...string) (output, error) {
	cmd := exec.CommandContext(ctx, s.binary, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return output{}, err
	}
	return output{stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}, nil
}

// code runs skiff, expects the given exit code and returns what it printed.
func (s *session) code(want int, args ...string) output {
	s.t.Helper()
	out, err := s.try(s.t.Context(), args...)
	if err != nil {
		s.t.Fatalf("skiff %s: %v", strings.Join(args, " "), err)
	}
	if out.code != want {
		s.failure = fmt.Sprintf("skiff %s: exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", strings.Join(args, " "), out.code, want, out.stdout, out.stderr)
		s.t.Fatal(s.failure)
	}
	return out
}

// run runs skiff, expects success and returns its standard output without the last newline.
func (s *session) run(args ...string) string {
	s.t.Helper()
	return strings.TrimRight(s.code(0, args...).stdout, "\n")
}

// timed runs skiff as run does and notes how long it took.
func (s *session) timed(name string, args ...string) string {
	s.t.Helper()
	begin := time.Now()
	out := s.run(args...)
	s.note(name, time.Since(begin))
	return out
}

func (s *session) note(name string, took time.Duration) {
	s.t.Helper()
	s.phases = append(s.phases, phase{name, took})
	s.t.Logf("%-44s %8.2f s", name, took.Seconds())
}

// report prints the time of each phase in one table.
func (s *session) report() {
	var b strings.Builder
	for _, p := range s.phases {
		fmt.Fprintf(&b, "%-44s %8.2f s\n", p.name, p.took.Seconds())
	}
	s.t.Logf("times of the phases:\n%s", b.String())
}

// eventually asks until ask returns nil, and fails with its last error when limit is over. It is for states that no
// command can be told to wait for, such as an answer from outside the cluster.
func (s *session) eventually(limit time.Duration, what string, ask func(ctx context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s: not within %s: %v", what, limit, err)
		case <-tick.C:
		}
	}
}

// echo is the part of the echo service's answer that tests look at.
type echo struct {
	Method   string `json:"method"`
	Path     string `json:"path"`
	Hostname string `json:"pod"`
}

// get asks an address as `curl -k` does, without following redirects.
func get(ctx context.Context, url string) (status int, answer echo, err error) {
	client := &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the tutorial's reader passes -k
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, answer, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, answer, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return response.StatusCode, answer, err
	}
	if response.StatusCode != http.StatusOK {
		return response.StatusCode, answer, fmt.Errorf("%s answers %s", url, response.Status)
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return response.StatusCode, answer, fmt.Errorf("%s answers no JSON: %w: %q", url, err, body)
	}
	return response.StatusCode, answer, nil
}

// keepArtifacts saves what tells why a test failed: console, agent and step logs, the guest's journal and the pods' logs.
func (s *session) keepArtifacts() {
	_ = os.RemoveAll(s.artifacts)
	if err := os.MkdirAll(s.artifacts, 0o700); err != nil {
		s.t.Logf("keep artifacts: %v", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for name, args := range map[string][]string{
		"logs.txt":   {"logs", "-n", "2000"},
		"status.txt": {"status"},
		"pods.txt":   {"kubectl", "--", "describe", "pods", "-A"},
		"events.txt": {"kubectl", "--", "get", "events", "-A", "--sort-by=.lastTimestamp"},
		"podlog.txt": {"ssh", "--", "sh", "-c", "tail -n 200 /var/log/pods/*/*/*.log"},
	} {
		out, err := s.try(ctx, args...)
		text := out.stdout + out.stderr
		if err != nil {
			text += err.Error()
		}
		_ = os.WriteFile(filepath.Join(s.artifacts, name), []byte(text), 0o600)
	}
	clusters := filepath.Join(s.home, "state", "clusters", "*")
	for _, pattern := range append([]string{filepath.Join(clusters, "logs", "*"), filepath.Join(clusters, "nodes", "*", "*.log")}, s.evidence...) {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			if content, err := os.ReadFile(file); err == nil {
				_ = os.WriteFile(filepath.Join(s.artifacts, filepath.Base(file)), content, 0o600)
			}
		}
	}
	s.t.Logf("logs of this failure are in %s", s.artifacts)
	if console, err := os.ReadFile(filepath.Join(s.artifacts, "logs.txt")); err == nil {
		s.t.Logf("the end of them:\n%s", console[max(0, len(console)-6000):])
	}
}

// downloaded fetches a package of Debian, and returns its file.
func downloaded(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	download := exec.CommandContext(t.Context(), "apt-get", "download", "--quiet", name)
	download.Dir = dir
	if out, err := download.CombinedOutput(); err != nil {
		t.Fatalf("download Debian's package %s: %v\n%s", name, err, out)
	}
	packages, err := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if err != nil || len(packages) != 1 {
		t.Fatalf("apt-get downloaded %q, error %v", packages, err)
	}
	return packages[0]
}

// unpacked fetches a package of Debian, and returns a folder with its files, which are not installed.
func unpacked(t *testing.T, name string) string {
	t.Helper()
	file, dir := downloaded(t, name), t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "dpkg-deb", "--extract", file, dir).CombinedOutput(); err != nil {
		t.Fatalf("unpack Debian's package %s: %v\n%s", name, err, out)
	}
	return dir
}

//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSpare: a start takes a cluster that was prepared, within seconds. Without -short also: clusters that were spares have
// nothing in common, and one that is damaged is replaced.
func TestSpare(t *testing.T) {
	s := newSession(t)
	s.timed("spare build", "spare", "build", "--offline")
	address := s.isReady()
	if got := s.run("profile", "list"); !strings.Contains(got, "no clusters") {
		t.Errorf("a spare is listed as a cluster:\n%s", got)
	}
	if out := s.code(0, "spare", "build", "--offline"); !strings.Contains(out.stderr, "is there already") {
		t.Errorf("a second build says %q", out.stderr)
	}

	first := s.takes("one", address)
	if testing.Short() {
		return
	}
	s.run("stop", "-p", "one")
	s.timed("spare build, a second one", "spare", "build", "--offline")
	second := s.takes("two", s.isReady())
	for what, value := range first {
		if second[what] == value {
			t.Errorf("two clusters that were spares have the same %s: %q", what, value)
		}
	}

	// Each is a cluster like any other, also after it was powered off: what the guest has on its disk fits the profile.
	s.run("stop", "-p", "two", "--shutdown")
	s.timed("start of a former spare, booted", "start", "-p", "two")
	for what, value := range s.identity("two") {
		if what != "token" && second[what] != value {
			t.Errorf("after a boot the %s of cluster two is %q and was %q", what, value, second[what])
		}
	}
	s.run("delete", "-p", "two")
	s.run("start", "-p", "one") // resumed
	s.run("delete", "-p", "one")

	s.damaged()
}

// isReady expects one spare that is ready, and returns its address.
func (s *session) isReady() string {
	s.t.Helper()
	var list []struct {
		Name, State, Address string
		Size                 int64
	}
	if err := json.Unmarshal([]byte(s.run("spare", "list", "-o", "json")), &list); err != nil {
		s.t.Fatal(err)
	}
	if len(list) != 1 || list[0].State != "Ready" || list[0].Size < 100<<20 {
		s.t.Fatalf("the spares are %+v, want one that is ready", list)
	}
	s.t.Logf("spare %s takes %d MiB", list[0].Name, list[0].Size>>20)
	return list[0].Address
}

// takes starts a profile that takes the spare, and returns what makes the cluster this one and no other.
func (s *session) takes(profile, address string) map[string]string {
	s.t.Helper()
	begin := time.Now()
	out := s.code(0, "start", "-p", profile, "--offline")
	s.note("start of "+profile+" from a spare", time.Since(begin))
	if !strings.Contains(out.stderr, "Take warm spare") || strings.Contains(out.stderr, "Boot machine") || strings.Contains(out.stderr, "anew") {
		s.t.Errorf("start did not take the spare:\n%s", out.stderr)
	}
	if got := s.run("ip", "-p", profile); got != address {
		s.t.Errorf("the address of cluster %s is %s, and its spare's %s", profile, got, address)
	}
	if got := s.run("spare", "list"); !strings.Contains(got, "no warm spares") {
		s.t.Errorf("after the start the spares are\n%s", got)
	}
	if nodes := s.run("kubectl", "-p", profile, "get", "nodes", "--no-headers"); !strings.Contains(nodes, " Ready ") {
		s.t.Errorf("the node is %q", nodes)
	}
	context, err := os.ReadFile(s.kubeconfig)
	if err != nil || !strings.Contains(string(context), "current-context: "+profile) || strings.Contains(string(context), "spare-") {
		s.t.Errorf("the user's kubeconfig (%v):\n%s", err, context)
	}
	s.run("kubectl", "-p", profile, "create", "deployment", "web", "--image=kennship/http-echo:latest")
	s.run("kubectl", "-p", profile, "rollout", "status", "deployment/web", "--timeout=3m")
	return s.identity(profile)
}

// identity is what no two clusters may have in common. The kernel's boot ID is not in it: machines that go on from one saved boot
// have the same until they boot (site/content/design/saved-boot.md).
func (s *session) identity(profile string) map[string]string {
	s.t.Helper()
	in := func(args ...string) string { return s.run(append([]string{"ssh", "-p", profile, "--"}, args...)...) }
	return map[string]string{
		"machine-id":            in("cat", "/etc/machine-id"),
		"SSH host key":          in("cat", "/etc/ssh/ssh_host_ed25519_key.pub"),
		"authority":             in("cat", "/etc/kubernetes/pki/ca.crt"),
		"etcd's authority":      in("cat", "/etc/kubernetes/pki/etcd/ca.crt"),
		"key of tokens":         in("cat", "/etc/kubernetes/pki/sa.pub"),
		"API server's key":      in("cat", "/etc/kubernetes/pki/apiserver.key"),
		"kubelet's certificate": in("cat", "/var/lib/kubelet/pki/kubelet-client-current.pem"),
		"ID of the namespace":   s.run("kubectl", "-p", profile, "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"),
		"token":                 s.run("kubectl", "-p", profile, "create", "token", "default"),
	}
}

// damaged spoils a spare: the start says so in one line and makes a cluster.
func (s *session) damaged() {
	s.t.Helper()
	s.run("spare", "build", "--offline")
	memories, err := filepath.Glob(filepath.Join(s.home, "state", "spares", "*", "nodes", "skiff", "suspended", "memory"))
	if err != nil || len(memories) != 1 {
		s.t.Fatalf("the memory of the spare: got %v (%v), want one", memories, err)
	}
	if err := os.Truncate(memories[0], 1<<20); err != nil {
		s.t.Fatal(err)
	}
	begin := time.Now()
	out := s.code(0, "start", "--offline")
	s.note("start, when the spare is damaged", time.Since(begin))
	if strings.Count(out.stderr, "cannot be used") != 1 || !strings.Contains(out.stderr, "is made anew") {
		s.t.Errorf("start says of a damaged spare:\n%s", out.stderr)
	}
	if nodes := s.run("kubectl", "get", "nodes", "--no-headers"); !strings.Contains(nodes, " Ready ") {
		s.t.Errorf("the node is %q", nodes)
	}
	s.run("stop")
	s.run("start")
	if got := s.run("spare", "list"); !strings.Contains(got, "no warm spares") {
		s.t.Errorf("the spares are\n%s", got)
	}
}

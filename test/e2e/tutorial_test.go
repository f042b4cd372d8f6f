//go:build e2e

// Package e2e runs skiff as its users do, in a real virtual machine with a real Kubernetes.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	manifest = "../../examples/http-echo.yaml"
	kubeTest = "registry.k8s.io/kube-apiserver:v1.37.2" // has a kubectl inside, which serves as an HTTP client
)

// errStillThere says that something answers which should have gone.
var errStillThere = errors.New("it still answers")

// TestTutorial is the whole way of the tutorial's reader, on one cluster, in the order in which it is walked.
func TestTutorial(t *testing.T) {
	s := newSession(t)
	var address string
	s.step("start gives a cluster that is usable", func() { address = s.startsUsable() })
	s.step("start, ip and status on a running cluster are quick and change nothing", func() { s.isQuick(address) })
	s.step("the kubeconfig has the new context and keeps the old one", s.keepsKubeconfig)
	s.step("the control plane is what textbooks say", s.hasControlPlane)
	s.step("ssh runs commands and gives their exit codes", s.runsCommands)
	s.step("addons enable ingress gives an entrance", s.enablesIngress)
	s.step("the manifest of 2019 is raised and applied, and /meow answers", func() { s.servesMeow(address) })
	s.isUsed(address)
	s.step("Services answer after kube-proxy was replaced", func() { s.replacesKubeProxy(address) })
	s.step("a pod reaches a service of this computer only where it may", s.reachesHost)
	s.step("the guest uses little memory", s.usesLittleMemory)
	s.step("start recovers from a killed agent", func() { s.recovers("agent", address) })
	s.step("stop and start go on as if nothing had been", func() { s.suspends(address) })
	s.step("a snapshot brings the old state back", func() { s.snapshots(address) })
	s.step("pause and unpause leave all as it is", func() { s.pauses(address) })
	s.step("a machine of which nobody asks anything is paused, and woken by the next who does", func() { s.sleeps(address) })
	s.step("stop --shutdown and start bring everything back", func() { s.restarts(address) })
	s.step("a hypervisor that is killed in a stop loses nothing", func() { s.losesWhileSuspending(address) })
	s.step("start recovers from a killed hypervisor", func() { s.recovers("qemu", address) })
	s.step("the tutorial is done in the dashboard's page", func() { s.showsDashboard(address) })
	s.step("delete leaves nothing", s.deletes)
}

// isUsed takes the steps of the tutorial's reader on a cluster that serves /meow. They are the same on all drivers.
func (s *session) isUsed(address string) {
	s.t.Helper()
	s.step("both replicas answer in turn", func() { s.spreads("https://" + address + "/meow") })
	s.step("kubectl get -w streams", s.watches)
	s.step("a ReplicationController brings a deleted pod back", s.replaces)
	s.step("a Deployment rolls out, shows its history and rolls back", s.rollsOut)
	s.step("a Service has one address and one name that spread over its pods", s.servesByName)
	s.step("a Service of type LoadBalancer is published with its status", func() { s.publishes(address) })
	s.step("logs tell of agent and guest", s.logs)
	s.step("an image without a registry is loaded from an archive, and runs", s.loads)
}

// step takes one step; when it fails the test ends.
func (s *session) step(name string, walk func()) {
	s.t.Helper()
	outer := s.t
	ok := outer.Run(name, func(t *testing.T) {
		s.t = t
		defer func() { s.t = outer }()
		walk()
	})
	if !ok {
		outer.Fatal("the steps build on one another; the rest is left out")
	}
}

func (s *session) startsUsable() string {
	s.code(5, "ip")
	s.code(7, "status")
	begin := time.Now()
	out := s.code(0, "start", "--memory", "4096", "--cpus", "2", "--offline", "-v")
	s.note("start, cold", time.Since(begin))
	s.t.Logf("the steps of the cold start:\n%s", out.stderr)
	// Usable means usable at once: no waiting here.
	nodes := s.run("kubectl", "get", "nodes", "--no-headers")
	if fields := strings.Fields(nodes); len(fields) < 5 || fields[0] != "skiff" || fields[1] != "Ready" || fields[4] != "v1.37.2" {
		s.t.Errorf("the node is %q, want skiff, Ready, v1.37.2", nodes)
	}
	if account := s.run("kubectl", "get", "serviceaccount", "default", "-o", "name"); account != "serviceaccount/default" {
		s.t.Errorf("default service account is %q", account)
	}
	return s.run("ip")
}

func (s *session) isQuick(address string) {
	before := s.run("kubectl", "get", "pods", "-n", "kube-system", "-o", "jsonpath={.items[*].metadata.uid}")
	out := s.code(0, "start")
	if !strings.Contains(out.stderr+out.stdout, address) {
		s.t.Errorf("start on a running cluster does not tell the address %s:\n%s%s", address, out.stdout, out.stderr)
	}
	s.timed("start, already running", "start")
	if got := s.timed("ip", "ip"); got != address {
		s.t.Errorf("ip is %q, then %q", address, got)
	}
	var status struct{ Name, Host, Kubelet, APIServer, Kubeconfig string }
	if err := json.Unmarshal([]byte(s.timed("status", "status", "-o", "json")), &status); err != nil {
		s.t.Fatal(err)
	}
	if status.Name != "skiff" || status.Host != "Running" || status.Kubelet != "Running" || status.APIServer != "Running" || status.Kubeconfig != "Configured" {
		s.t.Errorf("status is %+v", status)
	}
	if after := s.run("kubectl", "get", "pods", "-n", "kube-system", "-o", "jsonpath={.items[*].metadata.uid}"); after != before {
		s.t.Errorf("start changed the control plane's pods: %s, before %s", after, before)
	}
	if list := s.run("profile", "list"); !strings.Contains(list, address) {
		s.t.Errorf("profile list lacks %s:\n%s", address, list)
	}
}

func (s *session) keepsKubeconfig() {
	content, err := os.ReadFile(s.kubeconfig)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, want := range []string{"https://192.0.2.1:6443", "token: not-a-secret", "name: elsewhere", "current-context: skiff"} {
		if !strings.Contains(string(content), want) {
			s.t.Errorf("kubeconfig lacks %q", want)
		}
	}
	info, err := os.Stat(s.kubeconfig)
	if err != nil || info.Mode().Perm() != 0o600 {
		s.t.Errorf("kubeconfig has mode %v, %v; want 0600", info.Mode(), err)
	}
}

func (s *session) hasControlPlane() {
	pods := s.run("kubectl", "get", "pods", "-n", "kube-system", "-o", "jsonpath={range .items[*]}{.metadata.name}={.status.phase} {end}")
	for _, want := range []string{"etcd-skiff=Running", "kube-apiserver-skiff=Running", "kube-controller-manager-skiff=Running", "kube-scheduler-skiff=Running", "kube-proxy-", "coredns-"} {
		if !strings.Contains(pods, want) {
			s.t.Errorf("kube-system lacks %s: %s", want, pods)
		}
	}
	// Whoever writes an object through the API server leaves a name; these came from the image's list, and needed no change.
	for _, object := range []string{"clusterrole/system:node", "serviceaccount/endpointslice-controller"} {
		writers := s.run("kubectl", "get", object, "-n", "kube-system", "--show-managed-fields", "-o", "jsonpath={.metadata.managedFields[*].manager}")
		if writers != "" {
			s.t.Errorf("%s was written by %s", object, writers)
		}
	}
}

func (s *session) runsCommands() {
	if got := s.run("ssh", "--", "systemctl", "is-active", "kubelet", "containerd"); got != "active\nactive" {
		s.t.Errorf("kubelet and containerd are %q", got)
	}
	s.code(3, "ssh", "--", "sh", "-c", "exit 3")
}

func (s *session) enablesIngress() {
	s.timed("addons enable ingress", "addons", "enable", "ingress")
	s.timed("addons enable ingress, again", "addons", "enable", "ingress")
	var list map[string]struct{ Profile, Status string }
	if err := json.Unmarshal([]byte(s.run("addons", "list", "-o", "json")), &list); err != nil {
		s.t.Fatal(err)
	}
	if list["ingress"].Status != "enabled" {
		s.t.Errorf("addons list says %+v of ingress", list["ingress"])
	}
}

func (s *session) servesMeow(address string) { s.serves(address, address) }

// serves walks to /meow at an address. Kubernetes shows another where the cluster has several.
func (s *session) serves(address, shown string) {
	begin := time.Now()
	out := s.code(0, "apply", "-f", manifest)
	for _, want := range []string{"Deployment default/meow: extensions/v1beta1 -> apps/v1", "Ingress default/meow-ingress: extensions/v1beta1 -> networking.k8s.io/v1"} {
		if !strings.Contains(out.stderr, want) {
			s.t.Errorf("apply does not say %q:\n%s", want, out.stderr)
		}
	}
	if strings.Contains(out.stderr, "meow-svc:") {
		s.t.Errorf("apply says that it changed the Service:\n%s", out.stderr)
	}
	url := "https://" + address + "/meow"
	s.eventually(8*time.Minute, "GET "+url, func(ctx context.Context) error {
		_, answer, err := get(ctx, url)
		if err == nil && (answer.Path != "/meow" || answer.Method != "GET" || answer.Hostname == "") {
			s.t.Errorf("answer is %+v", answer)
		}
		return err
	})
	s.note("apply to first 200 at /meow", time.Since(begin))
	if out := s.run("kubectl", "get", "svc,ing"); !strings.Contains(out, shown) || !strings.Contains(out, "nginx") {
		s.t.Errorf("kubectl get svc,ing shows not the address %s or not the class nginx:\n%s", shown, out)
	}
	// The tutorial's ssl-redirect is the literal \"false\": plain HTTP must answer too, not redirect.
	if status, _, err := get(s.t.Context(), "http://"+address+"/meow"); err != nil {
		s.t.Errorf("plain HTTP answers %d: %v", status, err)
	}
	if status, _, err := get(s.t.Context(), "https://"+address+"/nothing-here"); status != 404 {
		s.t.Errorf("an unknown path answers %d, %v; want 404", status, err)
	}
	if out := s.code(0, "apply", "-f", manifest); !strings.Contains(out.stdout, "deployment.apps/meow unchanged") {
		s.t.Errorf("a second apply changes something:\n%s", out.stdout)
	}
}

// spreads asks until two pods have answered.
func (s *session) spreads(url string) {
	seen := map[string]bool{}
	s.eventually(5*time.Minute, "two pods behind "+url, func(ctx context.Context) error {
		_, answer, err := get(ctx, url)
		if err != nil {
			return err
		}
		if seen[answer.Hostname] = true; len(seen) < 2 {
			return fmt.Errorf("only %v answered", seen)
		}
		return nil
	})
}

// watches starts `kubectl get pods -w` and expects a pod's end to show up in it.
func (s *session) watches() {
	name := s.pods("app=meow")[0]
	ctx, cancel := context.WithTimeout(s.t.Context(), 8*time.Minute)
	defer cancel()
	watch := exec.CommandContext(ctx, s.binary, "kubectl", "get", "pods", "-w", "--output-watch-events")
	watch.Cancel = func() error { return watch.Process.Signal(syscall.SIGTERM) } // which skiff hands on to kubectl
	lines, err := watch.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		s.t.Fatal(err)
	}
	seen := bufio.NewScanner(lines)
	until := func(what string) {
		for seen.Scan() {
			if strings.Contains(seen.Text(), what) && strings.Contains(seen.Text(), name) {
				return
			}
		}
		s.t.Fatalf("the watch ended before it showed %s of %s: %v", what, name, ctx.Err())
	}
	until("ADDED")
	s.run("kubectl", "delete", "pod", name, "--wait=true")
	until("DELETED")
	cancel()
	_ = watch.Wait() // it was told to end
	s.run("kubectl", "rollout", "status", "deployment/meow", "--timeout=8m")
}

// pods returns the names of the pods with that label which are not being deleted.
func (s *session) pods(label string) []string {
	s.t.Helper()
	var list struct {
		Items []struct {
			Metadata struct {
				Name              string
				DeletionTimestamp *string
			}
		}
	}
	if err := json.Unmarshal([]byte(s.run("kubectl", "get", "pods", "-l", label, "-o", "json")), &list); err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, item := range list.Items {
		if item.Metadata.DeletionTimestamp == nil {
			names = append(names, item.Metadata.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (s *session) replaces() {
	s.apply(`
apiVersion: v1
kind: ReplicationController
metadata: {name: purr}
spec:
  replicas: 1
  selector: {app: purr}
  template:
    metadata: {labels: {app: purr}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: purr, image: "kennship/http-echo:latest", imagePullPolicy: IfNotPresent}
`)
	s.run("kubectl", "wait", "rc/purr", "--for=jsonpath={.status.readyReplicas}=1", "--timeout=8m")
	before := s.pods("app=purr")
	begin := time.Now()
	s.run("kubectl", "delete", "pod", before[0], "--wait=true")
	s.run("kubectl", "wait", "rc/purr", "--for=jsonpath={.status.readyReplicas}=1", "--timeout=8m")
	s.note("a deleted pod is back", time.Since(begin))
	if after := s.pods("app=purr"); len(after) != 1 || after[0] == before[0] {
		s.t.Errorf("after %v was deleted there is %v, want one other pod", before, after)
	}
	s.run("kubectl", "delete", "rc/purr")
}

func (s *session) rollsOut() {
	value := func() string {
		return s.run("kubectl", "get", "deployment/meow", "-o", `jsonpath={.spec.template.spec.containers[0].env[?(@.name=="MOOD")].value}`)
	}
	begin := time.Now()
	s.run("kubectl", "set", "env", "deployment/meow", "MOOD=hungry")
	s.run("kubectl", "rollout", "status", "deployment/meow", "--timeout=8m")
	s.note("rollout of a change", time.Since(begin))
	if got := value(); got != "hungry" {
		s.t.Errorf("after the change MOOD is %q", got)
	}
	history := s.run("kubectl", "rollout", "history", "deployment/meow")
	if !strings.Contains(history, "\n1 ") || !strings.Contains(history, "\n2 ") {
		s.t.Errorf("the history lacks revisions 1 and 2:\n%s", history)
	}
	s.run("kubectl", "rollout", "undo", "deployment/meow")
	s.run("kubectl", "rollout", "status", "deployment/meow", "--timeout=8m")
	if got := value(); got != "" {
		s.t.Errorf("after going back MOOD is %q, want none", got)
	}
	if pods := s.pods("app=meow"); len(pods) != 2 {
		s.t.Errorf("after going back there are the pods %v, want 2", pods)
	}
}

func (s *session) servesByName() {
	ip := s.run("kubectl", "get", "svc", "meow-svc", "-o", "jsonpath={.spec.clusterIP}")
	if !strings.HasPrefix(ip, "10.") {
		s.t.Errorf("the Service's address is %q", ip)
	}
	// One pod asks the Service by its name, twelve times.
	s.asks(12, "8m")
	seen := map[string]bool{}
	for i := range 12 {
		var answer echo
		if err := json.Unmarshal([]byte(s.run("kubectl", "logs", "asker", "-c", "ask"+strconv.Itoa(i))), &answer); err != nil {
			s.t.Fatal(err)
		}
		seen[answer.Hostname] = true
	}
	for _, pod := range s.pods("app=meow") {
		if !seen[pod] {
			s.t.Errorf("pod %s never answered behind meow-svc; those that did: %v", pod, seen)
		}
	}
	s.run("kubectl", "delete", "pod", "asker")
}

// replacesKubeProxy deletes kube-proxy's pod. The next kube-proxy finds the rules of the one before, and must leave those of
// living Services: the API server's address, the cluster's DNS and a Service behind its name and its NodePort answer again.
func (s *session) replacesKubeProxy(address string) {
	s.run("kubectl", "delete", "pod", "-n", "kube-system", "-l", "k8s-app=kube-proxy")
	s.run("kubectl", "rollout", "status", "-n", "kube-system", "daemonset/kube-proxy", "--timeout=2m")
	// A Service that is new tells when the new kube-proxy has written its rules for the first time.
	s.run("kubectl", "expose", "deployment/meow", "--name=meow-later", "--type=NodePort", "--port=80", "--target-port=3000")
	port := s.run("kubectl", "get", "svc/meow-later", "-o", "jsonpath={.spec.ports[0].nodePort}")
	begin := time.Now()
	s.eventually(time.Minute, "the NodePort of a Service made after kube-proxy was replaced", func(ctx context.Context) error {
		_, _, err := get(ctx, "http://"+address+":"+port+"/later")
		return err
	})
	s.note("NodePort, after kube-proxy was replaced", time.Since(begin))
	s.code(0, "ssh", "--", "/usr/local/bin/kube", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "--server=https://10.96.0.1", "--request-timeout=5s", "get", "--raw", "/readyz")
	s.asks(1, "1m")
	s.run("kubectl", "delete", "pod/asker", "svc/meow-later")
}

// asks makes a pod asker that asks meow-svc by its name n times, and waits for its end.
func (s *session) asks(n int, timeout string) {
	s.apply(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: asker}
spec:
  restartPolicy: Never
  containers:
%s`, askers(n)))
	s.run("kubectl", "wait", "pod/asker", "--for=jsonpath={.status.phase}=Succeeded", "--timeout="+timeout)
}

// askers are n containers that each ask http://meow-svc once and print the answer.
func askers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  - {name: ask%d, image: %q, command: [/usr/local/bin/kube, kubectl, --server=http://meow-svc, get, --raw, /ask]}\n", i, kubeTest)
	}
	return b.String()
}

// reachesHost has a pod ask a server on this computer's 127.0.0.1 by the name host.skiff.internal: it is refused, and answered once
// the port is allowed on the running cluster.
func (s *session) reachesHost() {
	const text = "this is the host"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	asks := func(phase, want string) {
		s.t.Helper()
		s.apply(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: visitor}
spec:
  restartPolicy: Never
  containers:
  - {name: ask, image: %q, command: [/usr/local/bin/kube, kubectl, "--server=http://host.skiff.internal:%s", get, --raw, /]}
`, kubeTest, port))
		s.run("kubectl", "wait", "pod/visitor", "--for=jsonpath={.status.phase}="+phase, "--timeout=2m")
		if got := s.run("kubectl", "logs", "visitor"); !strings.Contains(got, want) {
			s.t.Errorf("the pod ended as %s and says %q, want %q", phase, got, want)
		}
		s.run("kubectl", "delete", "pod/visitor")
	}
	asks("Failed", "refused")
	s.timed("start --host-access, on a running cluster", "start", "--host-access", port)
	if status := s.run("status"); !strings.Contains(status, "hostaccess: "+port) {
		s.t.Errorf("status does not tell the port %s:\n%s", port, status)
	}
	asks("Succeeded", text)
	s.run("start", "--host-access", "none")
}

func (s *session) publishes(address string) {
	s.run("kubectl", "expose", "deployment/meow", "--name=meow-lb", "--type=LoadBalancer", "--port=8123", "--target-port=3000")
	s.run("kubectl", "wait", "svc/meow-lb", "--for=jsonpath={.status.loadBalancer.ingress[0].ip}="+address, "--timeout=3m")
	s.eventually(3*time.Minute, "the LoadBalancer's port", func(ctx context.Context) error {
		_, _, err := get(ctx, "http://"+address+":8123/lb")
		return err
	})
	node := s.run("kubectl", "get", "svc/meow-lb", "-o", "jsonpath={.spec.ports[0].nodePort}")
	if _, _, err := get(s.t.Context(), "http://"+address+":"+node+"/nodeport"); err != nil {
		s.t.Errorf("the NodePort does not answer: %v", err)
	}
	s.run("kubectl", "delete", "svc/meow-lb")
	s.eventually(3*time.Minute, "the end of the LoadBalancer's port", func(ctx context.Context) error {
		if _, _, err := get(ctx, "http://"+address+":8123/lb"); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("port 8123 is not refused: %w", errors.Join(err, errStillThere))
		}
		return nil
	})
}

func (s *session) usesLittleMemory() {
	fields := strings.Fields(s.run("ssh", "--", "sh", "-c", "free -m | grep Mem:"))
	used, err := strconv.Atoi(fields[2])
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("guest memory in use, with ingress and the example: %d MiB", used)
	if used > 1200 {
		s.t.Errorf("the guest uses %d MiB, want at most 1200 with ingress and the example", used)
	}
}

func (s *session) logs() {
	logs := s.run("logs", "-n", "500")
	for _, want := range []string{"agent", "kubelet"} {
		if !strings.Contains(logs, want) {
			s.t.Errorf("logs do not tell of %s:\n%.2000s", want, logs)
		}
	}
}

// recovers kills one of the cluster's processes with SIGKILL and expects `start` to bring /meow back.
func (s *session) recovers(which, address string) {
	pid := s.process(which)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	s.eventually(time.Minute, "status after the end of "+which, func(ctx context.Context) error {
		out, err := s.try(ctx, "status")
		if err == nil && out.code == 0 {
			err = errors.New("status says that all is well")
		}
		return err
	})
	s.timed("start, after kill -9 of "+which, "start")
	s.meowIsBack(address)
}

func (s *session) meowIsBack(address string) {
	begin := time.Now()
	s.eventually(8*time.Minute, "/meow after a restart", func(ctx context.Context) error {
		_, _, err := get(ctx, "https://"+address+"/meow")
		return err
	})
	s.note("  then to 200 at /meow", time.Since(begin))
}

func (s *session) restarts(address string) {
	s.timed("stop --shutdown", "stop", "--shutdown")
	s.code(7, "status")
	s.code(6, "ip")
	s.timed("start, after stop --shutdown", "start")
	if again := s.run("ip"); again != address {
		s.t.Errorf("after a restart the address is %s, before %s", again, address)
	}
	s.meowIsBack(address)
}

func (s *session) deletes() {
	pids := []int{s.process("agent"), s.process("qemu")}
	s.timed("delete", "delete")
	for _, pid := range pids {
		s.eventually(time.Minute, "the end of process "+strconv.Itoa(pid), func(context.Context) error {
			if alive(pid) {
				return errors.New("it still runs")
			}
			return nil
		})
	}
	if _, err := os.Lstat(filepath.Join(s.home, "state", "clusters", "skiff")); !errors.Is(err, fs.ErrNotExist) {
		s.t.Errorf("the cluster's folder is still there: %v", err)
	}
	content, err := os.ReadFile(s.kubeconfig)
	if err != nil {
		s.t.Fatal(err)
	}
	if strings.Contains(string(content), "skiff") || !strings.Contains(string(content), "token: not-a-secret") {
		s.t.Errorf("the kubeconfig after delete:\n%s", content)
	}
	s.code(5, "ip")
	s.run("delete")
}

// alive reports whether the process runs. One that has ended, and waits for its parent to take note of that, does not: whoever
// adopted it may take its time (proc_pid_stat(5)).
func alive(pid int) bool {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, ok := strings.Cut(string(content[max(0, bytes.LastIndexByte(content, ')')):]), ") ")
	return ok && !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

// process finds a process of this session's cluster.
func (s *session) process(which string) int {
	s.t.Helper()
	pids := s.processes(which)
	if len(pids) == 0 {
		s.t.Fatalf("there is no %s process", which)
	}
	return pids[0]
}

// processes finds processes of this session's cluster in /proc, by their command lines.
func (s *session) processes(which string) (pids []int) {
	s.t.Helper()
	marks := map[string][]string{"agent": {"agent", "--config", s.home}, "qemu": {"qemu-system", s.home}}[which]
	entries, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, entry := range entries {
		content, err := os.ReadFile(entry)
		if err != nil {
			continue
		}
		line := strings.ReplaceAll(string(content), "\x00", " ")
		if slices.ContainsFunc(marks, func(mark string) bool { return !strings.Contains(line, mark) }) {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(entry, "/")[2])
		if err != nil {
			s.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func (s *session) apply(manifest string) {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.run("apply", "-f", path)
}

package symptom_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/provision/symptom"
)

// read returns what the script printed on a machine.
func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestStart: a start that goes well, on a machine that is slow, has many errors in its logs, and none of them is a reason.
func TestStart(t *testing.T) {
	t.Parallel()
	lines := strings.SplitAfter(read(t, "start"), "\n")
	const head = 6
	for _, step := range []int{5, 20, 1000} { // looks that are short or long
		d := symptom.Diagnosis{Offline: true}
		for at := head; at < len(lines); at += step {
			look := strings.Join(lines[:head], "") + strings.Join(lines[at:min(at+step, len(lines))], "")
			reason := d.Read(look, time.Minute)
			if reason.Final || reason.Text != "etcd runs, and kube-apiserver has not been started yet" {
				t.Errorf("line %d: got %+v, want that kube-apiserver is not there", at, reason)
			}
		}
	}
}

// The texts of failures are those of programs, in their logs.
func TestReasons(t *testing.T) {
	t.Parallel()
	unit := func(name string, lines ...string) string {
		return "@@ unit " + name + "\n" + strings.Join(lines, "\n") + "\n"
	}
	const (
		exits   = "kubelet.service: Main process exited, code=exited, status=1/FAILURE"
		restart = "kubelet.service: Scheduled restart job, restart counter is at 2."
	)
	three := func(lines ...string) string {
		return strings.Repeat(strings.Join(append(lines, exits, restart), "\n")+"\n", 3)
	}
	for name, test := range map[string]struct {
		output  string
		offline bool
		want    string
		final   bool // at the second look that shows it
	}{
		"no resolv.conf": {output: read(t, "resolv"), want: "the machine has no /etc/resolv.conf, and without it the kubelet starts no pod", final: true},
		"kubelet's configuration": {
			output: read(t, "config"), final: true,
			want: "the kubelet ends again and again: failed to load kubelet config file, path: /var/lib/kubelet/config.yaml, error: failed to load Kubelet config file /var/lib/kubelet/config.yaml, error failed to decode: json: cannot unmarshal number into Go struct field KubeletConfiguration.clusterDomain of type string",
		},
		"kubelet without containerd": {
			output: unit("kubelet", three(`E1130 08:44:48.122021     961 run.go:72] "command failed" err="failed to run Kubelet: validate service connection: validate CRI v1 runtime API for endpoint \"unix:///run/containerd/containerd.sock\": rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: no such file or directory\""`)),
			want:   "the kubelet ends again and again: failed to run Kubelet: validate service connection",
		},
		"a port of the kubelet": {
			output: unit("kubelet", three(`E1130 08:44:48.122021     961 server.go:218] "Failed to listen and serve" err="listen tcp 0.0.0.0:10250: bind: address already in use"`)),
			want:   "port 10250 of the machine is in use: the kubelet ends again and again: Failed to listen and serve: listen tcp 0.0.0.0:10250: bind: address already in use", final: true,
		},
		"a kubelet that waits for somebody": {
			output: unit("kubelet", three(`E1130 08:44:48.122021     961 run.go:72] "command failed" err="failed to run Kubelet: Get \"https://192.168.127.2:6443/api\": context deadline exceeded"`)),
			want:   "the kubelet ends again and again: failed to run Kubelet",
		},
		"no kubelet": {
			output: unit("kubelet", strings.Repeat("kubelet.service: Failed to locate executable /usr/local/bin/kubelet: No such file or directory\n"+exits+"\n", 3)),
			want:   "the kubelet ends again and again: Failed to locate executable /usr/local/bin/kubelet: No such file or directory", final: true,
		},
		"different cgroup drivers": {
			output: unit("kubelet", `E1130 08:44:28.357524     760 pod_workers.go:1338] "Error syncing pod, skipping" err="failed to \"CreatePodSandbox\" for \"etcd-skiff_kube-system(a34dea642b4733309d129ce93547f308)\" with CreatePodSandboxError: \"Failed to create sandbox for pod \\\"etcd-skiff_kube-system(a34dea642b4733309d129ce93547f308)\\\": rpc error: code = Unknown desc = failed to start sandbox: failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: expected cgroupsPath to be of format \\\"slice:prefix:name\\\" for systemd cgroups, got \\\"/kubepods/burstable\\\" instead\"" pod="kube-system/etcd-skiff" podUID="a34dea642b4733309d129ce93547f308"`),
			want:   "the kubelet and containerd have different cgroup drivers", final: true,
		},
		"an image that is not there": {
			output: read(t, "image"), offline: true, final: true,
			want: "container image registry.k8s.io/kube-apiserver:v9 is not on the machine, and the cluster is offline",
		},
		"an image that may come": {
			output: unit("kubelet", `E1130 08:44:28.357524     760 pod_workers.go:1338] "Error syncing pod, skipping" err="failed to \"StartContainer\" for \"etcd\" with ImagePullBackOff: \"Back-off pulling image \\\"registry.k8s.io/etcd:3.7.3\\\": ErrImagePull: failed to resolve reference \\\"registry.k8s.io/etcd:3.7.3\\\"\"" pod="kube-system/etcd-skiff" podUID="a34dea642b4733309d129ce93547f308"`),
			want:   `the kubelet says: Back-off pulling image "registry.k8s.io/etcd:3.7.3": ErrImagePull: failed to resolve reference`,
		},
		"the image of a user's pod": {
			output:  unit("kubelet", `E1130 08:44:28.357524     760 pod_workers.go:1338] "Error syncing pod, skipping" err="failed to \"StartContainer\" for \"web\" with ErrImagePull: \"failed to pull and unpack image \\\"example.com/web:1\\\": not found\"" pod="default/web" podUID="a34dea642b4733309d129ce93547f308"`),
			offline: true, want: "containerd does not run",
		},
		// Two errors of a control plane that was ended and comes again.
		"rights that the API server has yet to see": {
			output: unit("kubelet", `E1130 10:05:11.357524     760 status_manager.go:1018] "Failed to get status for pod" err="pods \"kube-proxy-74gj9\" is forbidden: User \"system:node:skiff\" cannot get resource \"pods\" in API group \"\" in the namespace \"kube-system\": no relationship found between node 'skiff' and this object" pod="kube-system/kube-proxy-74gj9"`),
			want:   "containerd does not run",
		},
		"a container that is gone": {
			output: unit("kubelet", `E1130 10:10:40.357524     760 log.go:32] "ContainerStatus from runtime service failed" err="rpc error: code = NotFound desc = an error occurred when try to find container \"4e285d74659ef17b444653902a6dba07c146e2960eac85e6c1092dcf1f91f44a\": not found" containerID="4e285d74659ef17b444653902a6dba07c146e2960eac85e6c1092dcf1f91f44a"`),
			want:   "containerd does not run",
		},
		"a full disk": {output: read(t, "full"), want: "the disk of the machine is full", final: true},
		"containerd's configuration": {
			output: unit("containerd", strings.Repeat("containerd: failed to unmarshal TOML at row 45 column 7: toml: array is incomplete\ncontainerd.service: Main process exited, code=exited, status=1/FAILURE\n", 3)),
			want:   "containerd ends again and again: failed to unmarshal TOML at row 45 column 7: toml: array is incomplete", final: true,
		},
		"containerd, and therefore the kubelet": {
			output: unit("kubelet", three(`E1130 08:44:48.122021     961 run.go:72] "command failed" err="failed to run Kubelet: dial unix /run/containerd/containerd.sock"`)) +
				unit("containerd", strings.Repeat(`time="2026-11-30T08:44:48.1Z" level=fatal msg="failed to open database" error="timeout"`+"\ncontainerd.service: Main process exited, code=exited, status=1/FAILURE\n", 3)),
			want: "containerd ends again and again: failed to open database: timeout",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := symptom.Diagnosis{Offline: test.offline}
			first := d.Read(test.output, 20*time.Second)
			if first.Final || !strings.HasPrefix(first.Text, test.want) {
				t.Errorf("first look: got %+v, want %q, which may be over", first, test.want)
			}
			if quiet := d.Read("@@ now 1\n@@ process containerd\n@@ process kubelet\n@@ process etcd\n@@ process kube-apiserver\n", 5*time.Second); quiet != (symptom.Reason{}) {
				t.Errorf("a look without errors: got %+v, want no reason", quiet)
			}
			if again := d.Read(test.output, 5*time.Second); again.Final != test.final || !strings.HasPrefix(again.Text, test.want) {
				t.Errorf("the same again: got %+v, want %q, final: %v", again, test.want, test.final)
			}
		})
	}
}

// TestContainers: a container of the control plane is counted by its runs, and what it said before the wait does not count.
func TestContainers(t *testing.T) {
	t.Parallel()
	const pod = "/var/log/pods/kube-system_kube-apiserver-skiff_a0a9264a107d525553b2f91ce90ae103/kube-apiserver/"
	run := func(number, line string) string {
		return "@@ container kube-apiserver " + pod + number + ".log\n" + line + "\n"
	}
	const now = "@@ now 1796028300\n" // 2026-11-30T08:45:00Z
	for name, test := range map[string]struct {
		line, want string
		final      bool
	}{
		"a flag that it does not know": {"2026-11-30T08:44:59.5Z stderr F Error: unknown flag: --profilin", "kube-apiserver ends again and again: unknown flag: --profilin", true},
		"a port": {
			`2026-11-30T08:44:59.5Z stderr F E1130 08:44:59.500000       1 run.go:72] "command failed" err="failed to create listener: failed to listen on 0.0.0.0:6443: listen tcp 0.0.0.0:6443: bind: address already in use"`,
			"port 6443 of the machine is in use: kube-apiserver ends again and again: failed to create listener", true,
		},
		"etcd that does not answer yet": {
			`2026-11-30T08:44:59.5Z stderr F F1130 08:44:59.500000       1 instance.go:226] Error creating leases: error creating storage factory: context deadline exceeded`,
			"kube-apiserver ends again and again: Error creating leases", false,
		},
		"an API server that does not answer yet": {
			`2026-11-30T08:44:59.5Z stderr F E1130 08:44:59.500000       1 run.go:72] "command failed" err="failed to wait for apiserver being healthy: timed out waiting for the condition: failed to get apiserver /healthz status: Get \"https://192.168.127.2:6443/healthz\": dial tcp 192.168.127.2:6443: connect: connection refused"`,
			"containerd does not run", false,
		},
		"long ago":         {"2026-11-30T07:44:59.5Z stderr F Error: unknown flag: --profilin", "containerd does not run", false},
		"it has not ended": {`2026-11-30T08:44:59.5Z stderr F E1130 08:44:59.500000       1 x.go:1] "Unhandled Error" err="what"`, "containerd does not run", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := symptom.Diagnosis{}
			var last symptom.Reason
			for look, numbers := range [][]string{{"1", "0"}, {"2", "1"}} {
				output := now
				for _, number := range numbers {
					output += run(number, test.line)
				}
				if last = d.Read(output, 20*time.Second); look == 0 && last.Final {
					t.Errorf("first look: got %+v, want no end yet", last)
				}
			}
			if last.Final != test.final || !strings.HasPrefix(last.Text, test.want) {
				t.Errorf("got %+v, want %q, final: %v", last, test.want, test.final)
			}
		})
	}
}

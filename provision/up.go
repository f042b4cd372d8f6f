package provision

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/symptom"
)

// Phase is what Up is doing, for people to see.
type Phase struct {
	ID   string // short and stable, such as "kubeadm"
	Text string // "Bring up the control plane"
}

// Files on the machine that tell how far it is. The first two hold the fingerprint of the cluster's authority, the third
// that of all its keys and certificates.
const (
	beganFile        = "/etc/kubernetes/skiff/began"
	doneFile         = "/etc/kubernetes/skiff/done"
	certificatesFile = "/etc/kubernetes/skiff/certificates"
	kubeadmFile      = "/etc/kubernetes/skiff/kubeadm.yaml"
)

// Up brings Kubernetes up on the machine behind runner, and returns when kubeadm is done and kube-proxy and CoreDNS are
// created; use Ready to wait until all works. It is idempotent: on a machine that is done it only pushes certificates
// that were renewed and sees to it that the kubelet runs, and after a boot that the controllers start once the API server
// can serve them; where an earlier call was cut off it goes on, and what another
// cluster left it clears away, unless the cluster is provisioned: then a machine of another authority is left as it is. report
// may be nil. Failures are fail.KubeadmFailed, fail.ProvisionFailed, fail.NodeFailed where the machine's logs name a cause that
// stays, or, for such a machine, fail.StateCorrupt.
func Up(ctx context.Context, runner machine.Runner, config Config, pki *PKI, report func(Phase)) error {
	if report == nil {
		report = func(Phase) {}
	}
	client, err := pki.Client(config)
	if err != nil {
		return err
	}
	u := &up{runner: runner, config: config, pki: pki, client: client, report: report}
	if u.log = config.Log; u.log == nil {
		u.log = io.Discard
	}
	return u.run(ctx)
}

type up struct {
	runner machine.Runner
	config Config
	pki    *PKI
	client kubernetes.Interface
	report func(Phase)
	log    io.Writer
}

func (u *up) run(ctx context.Context) error {
	u.report(Phase{"push", "Push keys and configuration"})
	state, err := u.push(ctx)
	if err != nil || state == running {
		return err
	}
	if state == fresh {
		if err := u.staticPods(ctx); err != nil {
			return err
		}
	}
	// Until the API server has made what it starts with, everyone who asks for more takes away the time that it needs, and the
	// controller-manager would give up after 10 s and be started again (cmd/kube-controller-manager/app, WaitForAPIServer).
	wait := u.answering
	if state == fresh {
		wait = u.bootstrapped
	}
	if err := wait(ctx, "/healthz"); err != nil {
		return err
	}
	if state == booted {
		return u.controllers(ctx)
	}
	group, groupContext := errgroup.WithContext(ctx)
	group.Go(func() error { return u.controllers(groupContext) })
	group.Go(func() error { return u.essentials(groupContext) })
	group.Go(func() error { return u.finish(groupContext) })
	if err := group.Wait(); err != nil {
		return err
	}
	return u.sh(ctx, "mark", nil, `echo "$1" >"$2"`, u.fingerprint(), doneFile)
}

// found is what the push finds: it prints one of these, or nothing for a fresh machine.
type found string

const (
	fresh   found = ""       // not brought up yet, or not to the end
	booted  found = "booted" // brought up, and booted since; the controllers have been put aside again
	running found = "done"   // brought up, and the API server runs
)

// ownScript defines own, which prints the process of the container $1 of the static pod of that name on node $2, where it runs.
// A name alone tells nothing: pods of users, and others on a machine that was taken over, may run an etcd too. What containerd
// notes of each container that runs (containerd, docs/runtime-v2.md, "Bundle") says which pod it belongs to, also while containerd
// itself is frozen; the control group says whether the process is still that container's.
const ownScript = `own() {
	for f in $(grep -lsF "\"io.kubernetes.cri.sandbox-name\":\"$1-$2\"" /run/containerd/io.containerd.runtime.v2.task/k8s.io/*/config.json); do
		grep -qF '"io.kubernetes.cri.sandbox-namespace":"kube-system"' "$f" || continue
		grep -qF "\"io.kubernetes.cri.container-name\":\"$1\"" "$f" || continue
		f=${f%/config.json}
		pid=$(cat "$f/init.pid" 2>/dev/null) || continue
		if grep -qsF "${f##*/}" "/proc/$pid/cgroup"; then echo "$pid"; fi
	done
}`

// pushArgs are the parameters of pushScript, in its order.
type pushArgs struct {
	fingerprint      string   // $1, of the cluster
	done, began      string   // $2, $3: the files that say "done" and "began"
	certificates     string   // $4, their fingerprint
	socket           string   // $5, of the container runtime
	certificatesFile string   // $6, which has the fingerprint of those that the machine has
	provisioned      string   // $7, empty unless the cluster is
	node             string   // $8, its name
	processors       string   // $9, for tuneScript
	frozen           []string // control groups to thaw, where nobody is left to do it; see Quiesce
}

func (a pushArgs) list() []string {
	return append([]string{a.fingerprint, a.done, a.began, a.certificates, a.socket, a.certificatesFile, a.provisioned, a.node, a.processors}, a.frozen...)
}

// pushScript unpacks its input; its parameters are pushArgs. Those who use certificates read some of them only when they start,
// such as those in kubeconfigs, so they are ended, and started again by the kubelet and by systemd. They are killed: an API server
// that is told to end waits for minutes for an etcd that has ended before it, and a crash costs none of them anything. The file is
// written last, so that none of it is left out when it is cut off. On a machine that has booted the controllers are put aside, as
// by deferScript. The server of systemd-resolved is of no use to pods: its address is one of theirs (kubeadm does the same,
// app/componentconfigs, isServiceActive). Its list of servers also takes the place of an /etc/resolv.conf that is not there. A
// kubelet of a start before this one is stopped; deferScript starts it.
const pushScript = `set -e
` + ownScript + `
read -r done 2>/dev/null <"$2" || done=
read -r began 2>/dev/null <"$3" || began=
if [ "$done" = "$1" ]; then
	api=$(own kube-apiserver "$8")
	read -r certificates 2>/dev/null <"$6" || certificates=
	if [ "$certificates" != "$4" ]; then
		tar -x -m -o -p -f - -C /
		for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do
			for pid in $(own "$name" "$8"); do kill -s KILL "$pid" || :; done
		done
		systemctl kill -s KILL kubelet || :
		api=
		echo "$4" >"$6"
	fi
	processors=$9 begin=start
	shift 9
	` + thawScript + `
	cd /etc/kubernetes/manifests
	if [ -z "$api" ]; then
		for f in kube-controller-manager.yaml kube-scheduler.yaml; do [ ! -e "$f" ] || mv "$f" ../skiff/; done` + tuneScript + `	fi
	systemctl "$begin" --no-block kubelet
	if [ -e ../skiff/kube-controller-manager.yaml ] || [ -e ../skiff/kube-scheduler.yaml ]; then echo booted; else echo done; fi
	exit
fi
own=
[ ! -r /etc/kubernetes/pki/ca.crt ] || own=$(sha256sum </etc/kubernetes/pki/ca.crt)
if [ -e /etc/kubernetes/manifests/etcd.yaml ] && [ "$began" != "$1" ] && [ "${own%% *}" != "$1" ]; then
	[ -z "$7" ] || exit 67
	kubeadm reset --force --cri-socket "$5" >&2
	rm -rf /etc/kubernetes/skiff
fi
mkdir -p /etc/kubernetes/manifests /etc/kubernetes/skiff
chmod 700 /etc/kubernetes/manifests /etc/kubernetes/skiff
tar -x -m -o -p -f - -C /
echo "$4" >"$6"
if ! grep -q '^resolvConf:' /var/lib/kubelet/config.yaml; then
	own=/etc/resolv.conf resolved=/run/systemd/resolve/resolv.conf
	if { [ "$(readlink -f "$own")" = /run/systemd/resolve/stub-resolv.conf ] || [ ! -e "$own" ]; } && [ -e "$resolved" ]; then
		echo "resolvConf: $resolved" >>/var/lib/kubelet/config.yaml
	elif [ ! -e "$own" ]; then
		exit 68
	fi
fi
if [ "$began" = "$1" ]; then systemctl stop kubelet; else systemctl start --no-block kubelet; fi`

// What pushScript ends with.
const (
	exitForeign      = 67 // the machine of a provisioned cluster has another authority
	exitNoResolvConf = 68 // it has no file of DNS servers, without which the kubelet starts no pod
)

// provisioned is pushScript's $7.
func (u *up) provisioned() string {
	if u.config.Provisioned {
		return "provisioned"
	}
	return ""
}

// push puts all files on the machine and starts the kubelet, unless the machine is done.
func (u *up) push(ctx context.Context) (found, error) {
	files, err := u.files()
	if err != nil {
		return fresh, u.failed(fail.ProvisionFailed, "push", "push keys and configuration", err, nil)
	}
	packed, err := archive(files)
	if err != nil {
		return fresh, u.failed(fail.ProvisionFailed, "push", "push keys and configuration", err, nil)
	}
	var output bytes.Buffer
	args := pushArgs{
		fingerprint: u.fingerprint(), done: doneFile, began: beganFile, certificates: u.pki.Fingerprint(), socket: criSocket,
		certificatesFile: certificatesFile, provisioned: u.provisioned(), node: u.config.NodeName, processors: u.config.processors(), frozen: frozenGroups(),
	}
	err = u.output(ctx, "push", bytes.NewReader(packed), &output, pushScript, args.list()...)
	if failed, ok := errors.AsType[*machine.RunError](err); ok && failed.ExitCode == exitForeign {
		return fresh, fail.New(fail.StateCorrupt, "use cluster "+u.config.ClusterName, "the machine's authority %s/ca.crt is not the cluster's, and neither was changed", pkiDir).
			WithHint("The files of another cluster may have been copied over this one's: restore the cluster's folder of keys from a backup.").
			WithNext("skiff logs -p %s --step kubernetes", u.config.ClusterName)
	}
	if failed, ok := errors.AsType[*machine.RunError](err); ok && failed.ExitCode == exitNoResolvConf {
		return fresh, u.config.nodeFailed("push keys and configuration", symptom.NoResolvConf("/etc/resolv.conf"))
	}
	return found(strings.TrimSpace(output.String())), err
}

// files are all that the machine needs before kubeadm starts.
func (u *up) files() ([]File, error) {
	kubeadm, err := u.config.Kubeadm()
	if err != nil {
		return nil, err
	}
	kubelet, err := u.config.kubelet()
	if err != nil {
		return nil, err
	}
	kubeletFile, err := yaml.Marshal(kubelet)
	if err != nil {
		return nil, err
	}
	return append(append(u.pki.Guest(), u.config.patches()...),
		File{Path: kubeadmFile, Mode: 0o600, Body: kubeadm},
		File{Path: beganFile, Mode: 0o600, Body: []byte(u.fingerprint() + "\n")},
		File{Path: "/var/lib/kubelet/config.yaml", Mode: 0o644, Body: kubeletFile},
		// Where kubeadm looks for the endpoint of the container runtime when it renews or upgrades.
		File{Path: "/var/lib/kubelet/instance-config.yaml", Mode: 0o644, Body: []byte("containerRuntimeEndpoint: " + criSocket + "\n")},
		File{Path: "/var/lib/kubelet/kubeadm-flags.env", Mode: 0o644, Body: []byte(u.config.kubeletFlags())},
	), nil
}

// kubeletFlags is the environment of the kubelet's service.
func (c Config) kubeletFlags() string {
	text := fmt.Sprintf("KUBELET_KUBEADM_ARGS=\"--hostname-override=%s --node-ip=%s\"\n", c.NodeName, c.NodeAddress)
	if processors := c.processors(); processors != "" {
		text += fmt.Sprintf("%s=%s\n", goProcessors, processors)
	}
	return text
}

// Phases of "kubeadm init" that never run. What they do has been done: the host made keys and kubeconfigs, the kubelet
// has its configuration, and kube-proxy and CoreDNS come from the host. Waiting is the host's part too: kubeadm's takes a
// whole processor of an emulated machine away from what it waits for.
const skipped = "preflight,certs,kubeconfig,kubelet-start,wait-control-plane,upload-certs,kubelet-finalize,addon,show-join-command"

// deferScript runs kubeadm, $1 and so on, and puts the manifests of those aside that would start, find no API server,
// and end again. The kubelet takes longer to start than kubeadm does.
// It starts the kubelet where an earlier start was cut off or failed: one that ran on has read the files of that start, and was seen
// never to start a static pod in the place of another version of it that had kept failing.
const deferScript = `kubeadm "$@" && cd /etc/kubernetes/manifests && mv kube-controller-manager.yaml kube-scheduler.yaml ../skiff/ && systemctl start --no-block kubelet`

// staticPods lets kubeadm write the manifests of etcd and the control plane.
func (u *up) staticPods(ctx context.Context) error {
	u.report(Phase{"kubeadm", "Bring up the control plane"})
	return u.kubeadm(ctx, "run kubeadm", []string{"sh", "-c", deferScript, "sh"},
		skipped+",upload-config,mark-control-plane,bootstrap-token")
}

// controllers starts the controller-manager and the scheduler.
func (u *up) controllers(ctx context.Context) error {
	const script = `cd /etc/kubernetes/skiff && for f in kube-controller-manager.yaml kube-scheduler.yaml; do [ ! -e "$f" ] || mv "$f" ../manifests/; done`
	return u.sh(ctx, "kubeadm", nil, script)
}

// finish lets kubeadm store the cluster's configuration in it, label the node and prepare the joining of further ones.
func (u *up) finish(ctx context.Context) error {
	if err := u.answering(ctx, "/readyz"); err != nil {
		return err
	}
	return u.kubeadm(ctx, "run kubeadm", []string{"kubeadm"}, skipped+",etcd,control-plane")
}

// kubeadm runs "kubeadm init" without some phases, behind the words in command.
func (u *up) kubeadm(ctx context.Context, op string, command []string, skip string) error {
	var output tail
	writer := io.MultiWriter(u.log, &output)
	_, err := u.runner.Run(ctx, machine.Cmd{
		Args:   append(command, "init", "--config", kubeadmFile, "--skip-phases", skip, "--skip-token-print"),
		Stdout: writer, Stderr: writer,
	})
	if err != nil {
		return u.failed(fail.KubeadmFailed, "kubeadm", op, err, output.lines())
	}
	return nil
}

// answering waits for the API server.
func (u *up) answering(ctx context.Context, path string) error {
	w := watcher{
		runner: u.runner, config: u.config, op: "wait for the API server",
		lacks: func() string { return "the API server does not answer yet" },
	}
	err := w.during(ctx, func(ctx context.Context, _ func()) error { return answering(ctx, u.client, path) })
	if fail.Is(err, fail.NodeFailed) {
		return err
	}
	if err != nil {
		return u.failed(fail.KubeadmFailed, "kubeadm", "wait for the API server", err, nil)
	}
	return nil
}

// bootstrapped waits for the API server, and gives it its first objects meanwhile.
func (u *up) bootstrapped(ctx context.Context, path string) error {
	limited, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() {
		if err := u.bootstrap(limited); err != nil {
			fmt.Fprintln(u.log, "skiff:", err)
		}
	})
	err := u.answering(ctx, path)
	cancel()
	group.Wait()
	return err
}

// essentials makes kube-proxy and CoreDNS.
func (u *up) essentials(ctx context.Context) error {
	u.report(Phase{"essentials", "Add kube-proxy and cluster DNS"})
	objects, err := u.config.Essentials()
	if err == nil {
		err = applyEssentials(ctx, u.client, objects)
	}
	if err != nil {
		return u.failed(fail.ProvisionFailed, "essentials", "add kube-proxy and cluster DNS", err, nil)
	}
	return nil
}

func (u *up) sh(ctx context.Context, step string, stdin io.Reader, script string, args ...string) error {
	return u.output(ctx, step, stdin, u.log, script, args...)
}

// output runs a fixed script with arguments.
func (u *up) output(ctx context.Context, step string, stdin io.Reader, stdout io.Writer, script string, args ...string) error {
	var errors tail
	_, err := u.runner.Run(ctx, machine.Cmd{
		Args:  append([]string{"sh", "-c", script, "sh"}, args...),
		Stdin: stdin, Stdout: stdout, Stderr: io.MultiWriter(u.log, &errors),
	})
	if err != nil {
		return u.failed(fail.ProvisionFailed, step, "prepare the machine ("+step+")", err, errors.lines())
	}
	return nil
}

// failed makes the error that people meet. One that came from the end of ctx stays as it is.
func (u *up) failed(id fail.ID, step, op string, err error, output []byte) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || fail.Known(err) {
		return fmt.Errorf("%s: %w", op, err)
	}
	var failed *machine.RunError
	if errors.As(err, &failed) && len(failed.Cmd) > maxCommand {
		short := *failed
		short.Cmd = failed.Cmd[:maxCommand] + "…"
		err = &short
	}
	return fail.New(id, op, "%w", err).
		WithNext("skiff logs -p %s --step %s", u.config.ClusterName, step).WithOutput(string(output))
}

// maxCommand keeps scripts out of messages.
const maxCommand = 120

// fingerprint tells this cluster from any other.
func (u *up) fingerprint() string {
	sum := sha256.Sum256(u.pki.ca())
	return hex.EncodeToString(sum[:])
}

// Fingerprint tells these keys and certificates from any others.
func (p *PKI) Fingerprint() string {
	sum := sha256.New()
	for _, file := range p.Guest() {
		fmt.Fprintf(sum, "%s %d\n", file.Path, len(file.Body))
		sum.Write(file.Body)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// tail is a writer that keeps the last lines.
type tail struct{ kept []byte }

const tailBytes = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - tailBytes; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

// lines returns up to the last 15 lines.
func (t *tail) lines() []byte {
	const count = 15
	lines := bytes.Split(bytes.TrimSpace(t.kept), []byte("\n"))
	if len(lines) > count {
		lines = lines[len(lines)-count:]
	}
	return bytes.Join(lines, []byte("\n"))
}

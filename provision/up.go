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

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// Phase is what Up is doing, for people to see.
type Phase struct {
	ID   string // short and stable, such as "kubeadm"
	Text string // "Bring up the control plane"
}

// Files on the machine that tell how far it is. Both begin with the fingerprint of the cluster's authority; a digest of all
// pushed files follows in doneFile.
const (
	beganFile   = "/etc/kubernetes/skiff/began"
	doneFile    = "/etc/kubernetes/skiff/done"
	kubeadmFile = "/etc/kubernetes/skiff/kubeadm.yaml"
)

// Up brings Kubernetes up on the machine behind runner, and returns when kubeadm is done and kube-proxy and CoreDNS are
// created; use Ready to wait until all works. It is idempotent: on a machine that is done it only pushes keys and
// configuration that changed, such as renewed certificates, and sees to it that the kubelet runs; where an earlier call was cut off it goes on, and what another
// cluster left it clears away. report may be nil. Failures are fail.KubeadmFailed or fail.ProvisionFailed.
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
	digest, done, err := u.push(ctx)
	if err != nil || done {
		return err
	}
	// From here on the kubelet starts etcd and the API server, and the host makes what it can by way of the latter.
	u.report(Phase{"kubeadm", "Bring up the control plane"})
	if err := u.answering(ctx, "/livez/ping"); err != nil {
		return err
	}
	group, groupContext := errgroup.WithContext(ctx)
	group.Go(func() error { return u.controllers(groupContext) })
	group.Go(func() error { return u.essentials(groupContext) })
	group.Go(func() error { return u.finish(groupContext) })
	if err := group.Wait(); err != nil {
		return err
	}
	return u.sh(ctx, "mark", nil, `echo "$1" "$2" >"$3"`, u.fingerprint(), digest, doneFile)
}

// pushScript unpacks its input. $1 is the fingerprint, $2 the file that says "done", $3 the one that says "began", $4 the
// digest of what there is to push, $5 the container runtime.
const pushScript = `set -e
read -r done digest 2>/dev/null <"$2" || done=
read -r began 2>/dev/null <"$3" || began=
if [ "$done" = "$1" ]; then
	if [ "$digest" != "$4" ]; then
		tar -x -m -o -p -f - -C /
		for f in /proc/[0-9]*/comm; do
			read -r name 2>/dev/null <"$f" || continue
			case $name in etcd|kube-apiserver|kube-controller|kube-scheduler|kubelet) p=${f#/proc/}; kill "${p%/comm}" || : ;; esac
		done
		echo "$1" "$4" >"$2"
	fi
	systemctl start --no-block kubelet
	echo done
	exit
fi
if [ -e /etc/kubernetes/manifests/etcd.yaml ] && [ "$began" != "$1" ]; then
	kubeadm reset --force --cri-socket "$5" >&2
	rm -rf /etc/kubernetes/skiff
fi
mkdir -p -m 700 /etc/kubernetes/manifests /etc/kubernetes/skiff /var/lib/etcd
tar -x -m -o -p -f - -C /
systemctl start --no-block kubelet`

// push puts all files on the machine and starts the kubelet. On a machine that is done it does so only if they changed.
func (u *up) push(ctx context.Context) (digest string, done bool, err error) {
	files, err := u.files()
	if err != nil {
		return "", false, u.failed(fail.ProvisionFailed, "push", "push keys and configuration", err, nil)
	}
	packed, err := archive(files)
	if err != nil {
		return "", false, u.failed(fail.ProvisionFailed, "push", "push keys and configuration", err, nil)
	}
	sum := sha256.Sum256(packed)
	digest = hex.EncodeToString(sum[:])
	var output bytes.Buffer
	err = u.output(ctx, "push", bytes.NewReader(packed), &output, pushScript, u.fingerprint(), doneFile, beganFile, digest, criSocket)
	return digest, strings.TrimSpace(output.String()) == "done", err
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
	first, _ := u.config.components()
	pods, err := staticPods(first)
	if err != nil {
		return nil, err
	}
	return append(append(u.pki.Guest(), pods...),
		File{Path: kubeadmFile, Mode: 0o600, Body: kubeadm},
		File{Path: beganFile, Mode: 0o600, Body: []byte(u.fingerprint() + "\n")},
		File{Path: "/var/lib/kubelet/config.yaml", Mode: 0o644, Body: kubeletFile},
		// Where kubeadm looks for the endpoint of the container runtime when it renews or upgrades.
		File{Path: "/var/lib/kubelet/instance-config.yaml", Mode: 0o644, Body: []byte("containerRuntimeEndpoint: " + criSocket + "\n")},
		File{Path: "/var/lib/kubelet/kubeadm-flags.env", Mode: 0o644, Body: []byte(u.config.kubeletFlags())},
	), nil
}

func (c Config) kubeletFlags() string {
	return fmt.Sprintf("KUBELET_KUBEADM_ARGS=\"--hostname-override=%s --node-ip=%s\"\n", c.NodeName, c.NodeAddress)
}

// skipped are the phases of "kubeadm init" that do not run. What they do has been done: keys, kubeconfigs, the kubelet's
// configuration and the manifests of static pods are kubeadm's own but made on the host, and kube-proxy and CoreDNS come
// from there too. Waiting is the host's part as well: an emulated machine spends a whole processor on kubeadm's.
const skipped = "preflight,certs,kubeconfig,etcd,control-plane,kubelet-start,wait-control-plane,upload-certs,kubelet-finalize,addon,show-join-command"

// controllers starts the controller-manager and the scheduler, which without an API server would only use up time, and
// end. The former gives up when the API server is not healthy 10 s after it asked first (WaitForAPIServer in
// cmd/kube-controller-manager/app), and is started again.
func (u *up) controllers(ctx context.Context) error {
	_, second := u.config.components()
	files, err := staticPods(second)
	if err != nil {
		return u.failed(fail.ProvisionFailed, "controllers", "start the controllers", err, nil)
	}
	packed, err := archive(files)
	if err != nil {
		return u.failed(fail.ProvisionFailed, "controllers", "start the controllers", err, nil)
	}
	return u.sh(ctx, "controllers", bytes.NewReader(packed), `exec tar -x -m -o -p -f - -C /`)
}

// finish lets kubeadm store the cluster's configuration in it, label the node and prepare the joining of further ones.
func (u *up) finish(ctx context.Context) error {
	if err := u.answering(ctx, "/readyz"); err != nil {
		return err
	}
	var output tail
	writer := io.MultiWriter(u.log, &output)
	_, err := u.runner.Run(ctx, machine.Cmd{
		Args:   []string{"kubeadm", "init", "--config", kubeadmFile, "--skip-phases", skipped, "--skip-token-print"},
		Stdout: writer, Stderr: writer,
	})
	if err != nil {
		return u.failed(fail.KubeadmFailed, "kubeadm", "run kubeadm", err, output.lines())
	}
	return nil
}

// answering waits for the API server.
func (u *up) answering(ctx context.Context, path string) error {
	if err := answering(ctx, u.client, path); err != nil {
		return u.failed(fail.KubeadmFailed, "kubeadm", "wait for the API server", err, nil)
	}
	return nil
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
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
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

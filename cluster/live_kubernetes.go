package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/skiff-k8s/skiff/addons"
	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision"
	"github.com/skiff-k8s/skiff/store"
)

// addonLimit bounds the wait for an addon: pods start in seconds, their images are in the guest.
const addonLimit = 10 * time.Minute

// LiveKubernetes is Kubernetes as packages provision and addons do it.
type LiveKubernetes struct{}

var _ Kubernetes = LiveKubernetes{}

// config is what provision needs to know of the cluster.
func (LiveKubernetes) config(c Target) (provision.Config, error) {
	config := provision.NewConfig(c.Config.Profile, c.Config.Address)
	config.KubernetesVersion, config.Provisioned = c.Config.KubernetesVersion, c.Config.Provisioned
	config.Offline, config.Stalled = c.Config.Offline, c.Stalled
	config.CertificateLife = cmp.Or(c.Config.CertExpiration.Duration(), config.CertificateLife)
	if c.Config.SSH != nil {
		config.NodeAddress = c.Config.SSH.Node
	}
	// An agent that an older skiff has started serves no TLS: its machine keeps the old way until the next agent starts.
	if running, err := agent.Load(c.Files.AgentConfig()); err == nil && running.MirrorTLS != nil {
		config.Mirror = running.MirrorAddress()
	}
	config.APIServerNames = c.Config.APIServerNames
	for _, text := range c.Config.APIServerIPs {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return config, fmt.Errorf("apiserverIPs: %w", err)
		}
		config.APIServerIPs = append(config.APIServerIPs, ip)
	}
	settings, err := c.Config.Settings()
	if err != nil {
		return config, err
	}
	for _, setting := range settings {
		config.Extra = append(config.Extra, provision.Arg(setting))
	}
	if address := joinedAddress(c.Config); address.IsValid() {
		config.APIServerIPs = append(config.APIServerIPs, address)
		// By itself kube-proxy answers at the node's first address alone.
		ports := fmt.Sprintf("[%s/32, %s/32]", config.NodeAddress, address)
		config.Extra = append(config.Extra, provision.Arg{Component: "proxy", Key: "nodePortAddresses", Value: ports})
	}
	return config, nil
}

// pki reads the cluster's keys, and makes those that are missing or about to expire.
func (l LiveKubernetes) pki(c Target) (provision.Config, *provision.PKI, error) {
	config, err := l.config(c)
	if err != nil {
		return config, nil, err
	}
	pki, err := provision.EnsurePKI(c.Files.PKI(), config, time.Now())
	return config, pki, store.NoSpace("make the keys of cluster "+c.Config.Profile, err)
}

// Prepare implements Kubernetes. Keys that are damaged are left to Up and Wake, which can ask the machine for them.
func (l LiveKubernetes) Prepare(_ context.Context, c Target) error {
	_, _, err := l.pki(c)
	if _, damaged := errors.AsType[*provision.DamagedError](err); damaged {
		return nil
	}
	return err
}

// restored is pki with the machine available: keys that are damaged on the host are taken from there.
func (l LiveKubernetes) restored(ctx context.Context, m machine.Runner, c Target) (provision.Config, *provision.PKI, error) {
	config, pki, err := l.pki(c)
	damaged, ok := errors.AsType[*provision.DamagedError](err)
	if !ok {
		return config, pki, err
	}
	if err := provision.Restore(ctx, m, damaged); err != nil {
		return config, nil, err
	}
	if c.Warn != nil {
		c.Warn(damaged.Error() + "; restored from the machine's own copy")
	}
	return l.pki(c)
}

// Up implements Kubernetes. What the guest's commands print goes to the log of the step.
func (l LiveKubernetes) Up(ctx context.Context, m machine.Runner, c Target, report Report) error {
	config, pki, err := l.restored(ctx, m, c)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(c.Files.StepLog("kubernetes"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return store.NoSpace("open the log of kubeadm", err)
	}
	defer func() { _ = log.Close() }()
	config.Log = log
	if c.Tuning != nil {
		config.Tuning = c.Tuning(ctx)
	}
	fmt.Fprint(log, "skiff: ", config.Tuning)
	if config.Bootstrap, err = os.ReadFile(filepath.Join(c.Image, images.BootstrapName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := versions(&config, c.Image); err != nil {
		return err
	}
	return provision.Up(ctx, m, config, pki, func(p provision.Phase) { report(p.Text, 0, 0) })
}

// versions takes the tags of etcd and CoreDNS from the guest image in dir: they are what the cluster has, whatever image comes
// with this version of skiff.
func versions(config *provision.Config, dir string) error {
	manifest, err := images.ReadManifest(dir)
	if err == nil {
		config.EtcdVersion, err = manifest.Tag("registry.k8s.io/etcd")
	}
	if err == nil {
		config.CoreDNSVersion, err = manifest.Tag("registry.k8s.io/coredns/coredns")
	}
	return err
}

// Wake implements Kubernetes.
func (l LiveKubernetes) Wake(ctx context.Context, m machine.Runner, c Target, report Report) error {
	config, pki, err := l.restored(ctx, m, c)
	if err != nil {
		return err
	}
	stale, err := provision.Wake(ctx, m, config, pki)
	if err != nil || !stale {
		return err
	}
	report("renewing certificates", 0, 0)
	return l.Up(ctx, m, c, report)
}

// Quiesce implements Kubernetes.
func (l LiveKubernetes) Quiesce(ctx context.Context, m machine.Runner, c Target) (release func(), err error) {
	config, err := l.config(c)
	if err != nil {
		return nil, err
	}
	return provision.Quiesce(ctx, m, config)
}

// Awake implements Kubernetes.
func (l LiveKubernetes) Awake(c Target, line string) (awake, current bool) {
	certificates, awake := provision.Awake(line)
	if !awake {
		return false, false
	}
	_, pki, err := l.pki(c)
	return true, err == nil && pki.Fingerprint() == certificates
}

// Wait implements Kubernetes.
func (l LiveKubernetes) Wait(ctx context.Context, m machine.Runner, c Target, report Report) error {
	return l.wait(ctx, m, c, report, func(config provision.Config, client kubernetes.Interface) []provision.Condition {
		return provision.Ready(m, config, client)
	})
}

// WaitAgain implements Kubernetes.
func (l LiveKubernetes) WaitAgain(ctx context.Context, c Target, next Heard, report Report) error {
	return l.wait(ctx, nil, c, report, func(config provision.Config, client kubernetes.Interface) []provision.Condition {
		return provision.ReadyAgain(config, client, func(ctx context.Context) error { return next(ctx, provision.DNSAnswers) })
	})
}

func (l LiveKubernetes) wait(ctx context.Context, m machine.Runner, c Target, report Report, conditions func(provision.Config, kubernetes.Interface) []provision.Condition) error {
	config, pki, err := l.pki(c)
	if err != nil {
		return err
	}
	client, err := pki.Client(config)
	if err != nil {
		return err
	}
	return provision.Wait(ctx, config, m, conditions(config, client), func(met provision.Condition) {
		report(met.String()+": yes", 0, 0)
	})
}

// Usable implements Kubernetes.
func (l LiveKubernetes) Usable(ctx context.Context, c Target) error {
	config, err := l.rest(c)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	node, err := client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("the API server does not answer: %w", err)
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return errors.New("the node is not Ready")
}

// Enable implements Kubernetes.
func (l LiveKubernetes) Enable(ctx context.Context, c Target, name string, report Report) error {
	return l.enable(ctx, c, name, false, report)
}

// EnableAgain implements Kubernetes.
func (l LiveKubernetes) EnableAgain(ctx context.Context, c Target, name string, report Report) error {
	return l.enable(ctx, c, name, true, report)
}

func (l LiveKubernetes) enable(ctx context.Context, c Target, name string, again bool, report Report) error {
	config, addon, err := l.addon(c, name)
	if err != nil {
		return err
	}
	objects, err := addons.Render(addon, addons.Values{Address: c.Config.Address})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, addonLimit)
	defer cancel()
	if lacking := lacking(c, addon); len(lacking) > 0 {
		there, err := addons.Present(ctx, config, addon)
		if err != nil {
			return err
		}
		if len(there.Ready) > 0 {
			report("it stays as an older skiff made it: the cluster's guest image lacks "+strings.Join(lacking, ", "), 0, 0)
			return addons.Wait(ctx, config, there, c.Stalled)
		}
		if c.Config.Offline {
			return fail.New(fail.AddonFailed, "enable addon "+name, "the guest image of cluster %s, which is older than this skiff, lacks %s, and the cluster is offline", c.Config.Profile, strings.Join(lacking, ", ")).
				WithHint("A cluster that is not offline pulls it; one of another profile gets the newest guest image.").WithNext("skiff start -p %s --offline=false", c.Config.Profile)
		}
	}
	current := false
	if again {
		if current, err = addons.Current(ctx, config, objects); err != nil {
			return err
		}
	}
	if !current {
		report("applying its manifests", 0, 0)
		if err := addons.Enable(ctx, config, objects, addons.Options{}); err != nil {
			return err
		}
	}
	report("waiting for its pods", 0, 0)
	return addons.Wait(ctx, config, addon, c.Stalled)
}

// lacking returns the container images of an addon that the cluster's guest image does not have: another version of skiff made
// it. Where that image is gone nothing is known to be lacking; a cluster that runs does without it.
func lacking(c Target, addon addons.Addon) []string {
	manifest, err := images.ReadManifest(c.Image)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(addon.Images), func(name string) bool {
		return slices.ContainsFunc(manifest.Images, func(have images.Image) bool { return have.Reference == name })
	})
}

// Disable implements Kubernetes.
func (l LiveKubernetes) Disable(ctx context.Context, c Target, name string) error {
	config, addon, err := l.addon(c, name)
	if err != nil {
		return err
	}
	objects, err := addons.Render(addon, addons.Values{Address: c.Config.Address})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, addonLimit)
	defer cancel()
	return addons.Disable(ctx, config, objects)
}

// Enabled implements Kubernetes.
func (l LiveKubernetes) Enabled(ctx context.Context, c Target) (map[string]bool, error) {
	config, err := l.rest(c)
	if err != nil {
		return nil, err
	}
	return addons.Status(ctx, config)
}

func (l LiveKubernetes) addon(c Target, name string) (*rest.Config, addons.Addon, error) {
	addon, err := addons.Find(name)
	if err != nil {
		return nil, addon, err
	}
	config, err := l.rest(c)
	return config, addon, err
}

// rest is how the API server is reached, as the administrator.
func (LiveKubernetes) rest(c Target) (*rest.Config, error) {
	content, err := os.ReadFile(c.Files.Kubeconfig())
	var config *rest.Config
	if err == nil {
		config, err = clientcmd.RESTConfigFromKubeConfig(content)
	}
	if err != nil {
		return nil, fail.New(fail.StateCorrupt, "use cluster "+c.Config.Profile, "its kubeconfig %s cannot be used: %w", c.Files.Kubeconfig(), err).
			WithHint("All that is in it is in the cluster's keys; start writes it again.").WithNext("skiff start -p %s", c.Config.Profile)
	}
	config.QPS = -1 // few requests, all wanted at once
	return config, nil
}

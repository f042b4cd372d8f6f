package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// Condition is something that a cluster can be waited for.
type Condition interface {
	// String says what it is, as in "the node is Ready".
	String() string
	// Wait returns nil once it holds. When ctx ends before, the error says what was still missing.
	Wait(ctx context.Context) error
	// Problem says what Wait, which is called at the same time, still misses; nil when that is not known.
	Problem() error
}

// Ready returns the conditions under which a cluster is usable: all of them hold at once in a healthy one.
func Ready(runner machine.Runner, config Config, client kubernetes.Interface) []Condition {
	return usable(config, client, ClusterDNS(runner, config, client))
}

// ReadyAgain returns the same conditions for a machine that sets itself right (see Quiesce). dns returns once it has said
// that cluster DNS answers. None needs a connection to the machine, which takes a guest that has just woken longer than all
// else.
func ReadyAgain(config Config, client kubernetes.Interface, dns func(context.Context) error) []Condition {
	return usable(config, client, newCondition(dnsAnswers, func(ctx context.Context, _ func(error) error) error { return dns(ctx) }))
}

func usable(config Config, client kubernetes.Interface, dns Condition) []Condition {
	return []Condition{
		APIServer(client),
		NodeReady(client, config.NodeName),
		SystemPods(client),
		DefaultServiceAccount(client),
		dns,
	}
}

// Wait waits for all conditions at the same time. met, which may be nil, is told each that holds, from one goroutine at
// a time. When ctx ends first, the error is fail.WaitTimeout and names those that do not hold, and why. While none comes true,
// config.Stalled is told what is missing and, unless runner is nil, what the machine's logs say of it; what cannot get better is
// fail.NodeFailed.
func Wait(ctx context.Context, config Config, runner machine.Runner, conditions []Condition, met func(Condition)) error {
	var mu sync.Mutex
	missing := slices.Clone(conditions)
	w := watcher{runner: runner, config: config, op: "wait until the cluster is usable", lacks: func() string {
		mu.Lock()
		defer mu.Unlock()
		return lacking(missing)
	}}
	return w.during(ctx, func(ctx context.Context, progress func()) error {
		return waitAll(ctx, config.ClusterName, conditions, func(one Condition) {
			mu.Lock()
			missing = slices.DeleteFunc(missing, func(other Condition) bool { return other == one })
			mu.Unlock()
			progress()
			if met != nil {
				met(one)
			}
		})
	})
}

// lacking says what is missing, as far as that is known; empty when nothing is.
func lacking(conditions []Condition) string {
	var texts []string
	for _, one := range conditions {
		text := one.String()
		if problem := one.Problem(); problem != nil {
			text += " (" + oneLine(problem) + ")"
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return ""
	}
	return "not true yet: " + strings.Join(texts, ", ")
}

func waitAll(ctx context.Context, cluster string, conditions []Condition, met func(Condition)) error {
	var mu sync.Mutex
	problems := make([]error, len(conditions))
	var group sync.WaitGroup
	for i, condition := range conditions {
		group.Go(func() {
			err := condition.Wait(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				problems[i] = fmt.Errorf("%s: %w", condition, err)
			} else {
				met(condition)
			}
		})
	}
	group.Wait()
	err := errors.Join(problems...)
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("wait for the cluster: %w", ctx.Err())
	}
	return fail.New(fail.WaitTimeout, "wait until the cluster is usable", "%s", oneLine(err)).
		WithNext("skiff logs -p %s --problems", cluster)
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// condition is a Condition made of its words and its wait, which notes what it misses.
type condition struct {
	text string
	wait func(ctx context.Context, note func(error) error) error

	mu   sync.Mutex
	last error
}

func newCondition(text string, wait func(ctx context.Context, note func(error) error) error) *condition {
	return &condition{text: text, wait: wait}
}

func (c *condition) String() string { return c.text }

func (c *condition) Wait(ctx context.Context) error { return c.wait(ctx, c.note) }

func (c *condition) Problem() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// note remembers what is missing, and returns it.
func (c *condition) note(problem error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = problem
	return problem
}

var _ Condition = (*condition)(nil)

// APIServer holds when the API server says that it is ready.
func APIServer(client kubernetes.Interface) Condition {
	return newCondition("the API server is ready", func(ctx context.Context, _ func(error) error) error { return answering(ctx, client, "/readyz") })
}

// NodeReady holds when the node with that name is Ready.
func NodeReady(client kubernetes.Interface, name string) Condition {
	return newCondition("node "+name+" is Ready", func(ctx context.Context, note func(error) error) error {
		nodes := client.CoreV1().Nodes()
		options := meta.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()}
		return until(ctx, listWatch{
			list: func(ctx context.Context, o meta.ListOptions) (runtime.Object, error) {
				o.FieldSelector = options.FieldSelector
				return nodes.List(ctx, o)
			},
			watch: func(ctx context.Context, o meta.ListOptions) (watch.Interface, error) {
				o.FieldSelector = options.FieldSelector
				return nodes.Watch(ctx, o)
			},
		}, noting(note, nodeReady))
	})
}

// noting is check with what it says noted.
func noting(note func(error) error, check func(map[string]runtime.Object) error) func(map[string]runtime.Object) error {
	return func(objects map[string]runtime.Object) error { return note(check(objects)) }
}

func nodeReady(objects map[string]runtime.Object) error {
	for _, object := range objects {
		node, ok := object.(*core.Node)
		if !ok {
			continue
		}
		for _, c := range node.Status.Conditions {
			if c.Type == core.NodeReady {
				if c.Status == core.ConditionTrue {
					return nil
				}
				return fmt.Errorf("%s: %s", c.Reason, c.Message)
			}
		}
		return errors.New("it has not reported yet")
	}
	return errors.New("it has not registered yet")
}

// SystemPods holds when the pods of etcd, the control plane, kube-proxy and CoreDNS are there, and every pod in
// kube-system runs. Whether they do their work is for other conditions: probes of static pods tell it much later.
func SystemPods(client kubernetes.Interface) Condition {
	return newCondition("the pods of kube-system run", func(ctx context.Context, note func(error) error) error {
		pods := client.CoreV1().Pods(meta.NamespaceSystem)
		return until(ctx, listWatch{
			list:  func(ctx context.Context, o meta.ListOptions) (runtime.Object, error) { return pods.List(ctx, o) },
			watch: pods.Watch,
		}, noting(note, systemPods))
	})
}

func systemPods(objects map[string]runtime.Object) error {
	missing := map[string]bool{}
	for _, name := range []string{"coredns-", "etcd-", "kube-apiserver-", "kube-controller-manager-", "kube-proxy-", "kube-scheduler-"} {
		missing[name] = true
	}
	var problems []string
	for _, object := range objects {
		pod, ok := object.(*core.Pod)
		if !ok {
			continue
		}
		for prefix := range missing {
			if strings.HasPrefix(pod.Name, prefix) {
				delete(missing, prefix)
			}
		}
		if pod.Status.Phase != core.PodRunning && pod.Status.Phase != core.PodSucceeded {
			problems = append(problems, pod.Name+" is "+podProblem(pod))
		}
	}
	for prefix := range missing {
		problems = append(problems, strings.TrimSuffix(prefix, "-")+" has no pod")
	}
	return listed(problems)
}

// podProblem is the phase, and the reason of the first container that waits for something.
func podProblem(pod *core.Pod) string {
	for _, status := range pod.Status.ContainerStatuses {
		if waiting := status.State.Waiting; waiting != nil && waiting.Reason != "" {
			return string(pod.Status.Phase) + " (" + waiting.Reason + ")"
		}
	}
	return string(pod.Status.Phase)
}

// DefaultServiceAccount holds when pods can be made in the namespace default.
func DefaultServiceAccount(client kubernetes.Interface) Condition {
	return newCondition("the default service account exists", func(ctx context.Context, note func(error) error) error {
		accounts := client.CoreV1().ServiceAccounts(meta.NamespaceDefault)
		return until(ctx, listWatch{
			list:  func(ctx context.Context, o meta.ListOptions) (runtime.Object, error) { return accounts.List(ctx, o) },
			watch: accounts.Watch,
		}, noting(note, hasDefaultAccount))
	})
}

func hasDefaultAccount(objects map[string]runtime.Object) error {
	for _, object := range objects {
		if account, ok := object.(*core.ServiceAccount); ok && account.Name == "default" {
			return nil
		}
	}
	return errors.New("the controller-manager has not made it yet")
}

const dnsAnswers = "cluster DNS answers"

// ClusterDNS holds when cluster DNS, asked on the node at its Service's address, knows the API server's Service. That
// takes CoreDNS and kube-proxy.
func ClusterDNS(runner machine.Runner, config Config, client kubernetes.Interface) Condition {
	return newCondition(dnsAnswers, func(ctx context.Context, note func(error) error) error {
		slices := client.DiscoveryV1().EndpointSlices(meta.NamespaceSystem)
		selector := discovery.LabelServiceName + "=kube-dns"
		err := until(ctx, listWatch{
			list: func(ctx context.Context, o meta.ListOptions) (runtime.Object, error) {
				o.LabelSelector = selector
				return slices.List(ctx, o)
			},
			watch: func(ctx context.Context, o meta.ListOptions) (watch.Interface, error) {
				o.LabelSelector = selector
				return slices.Watch(ctx, o)
			},
		}, noting(note, endpointReady))
		if err != nil {
			return err
		}
		return resolves(ctx, runner, config)
	})
}

func endpointReady(objects map[string]runtime.Object) error {
	for _, object := range objects {
		slice, ok := object.(*discovery.EndpointSlice)
		if !ok {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
				return nil
			}
		}
	}
	return errors.New("no pod of CoreDNS is ready")
}

// dnsTick is how often cluster DNS is asked.
const dnsTick = 100 * time.Millisecond

// resolves asks cluster DNS until it answers rightly.
func resolves(ctx context.Context, runner machine.Runner, config Config) error {
	name := config.apiServerName()
	return retry(ctx, dnsTick, func() error {
		asking, cancel := context.WithTimeout(ctx, probeLimit)
		defer cancel()
		addr, err := lookUp(asking, runner, config.DNSAddress(), name)
		if err == nil && addr != config.ServiceAddress(1) {
			err = fmt.Errorf("it says %s for %s instead of %s", addr, name, config.ServiceAddress(1))
		}
		return err
	})
}

func listed(problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	const most = 5
	if len(problems) > most {
		problems = append(problems[:most:most], fmt.Sprintf("and %d more", len(problems)-most))
	}
	return errors.New(strings.Join(problems, ", "))
}

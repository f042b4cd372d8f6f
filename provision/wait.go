package provision

import (
	"context"
	"errors"
	"fmt"
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
}

// Ready returns the conditions under which a cluster is usable: all of them hold at once in a healthy one.
func Ready(runner machine.Runner, config Config, client kubernetes.Interface) []Condition {
	return usable(config, client, ClusterDNS(runner, config, client))
}

// ReadyAgain returns the same conditions for a machine that sets itself right (see Quiesce). dns returns once it has said
// that cluster DNS answers. None needs a connection to the machine, which takes a guest that has just woken longer than all
// else.
func ReadyAgain(config Config, client kubernetes.Interface, dns func(context.Context) error) []Condition {
	return usable(config, client, condition{dnsAnswers, dns})
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
// a time. When ctx ends first, the error is fail.WaitTimeout and names those that do not hold, and why.
func Wait(ctx context.Context, cluster string, conditions []Condition, met func(Condition)) error {
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
			} else if met != nil {
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

// condition is a Condition made of its words and its wait.
type condition struct {
	text string
	wait func(ctx context.Context) error
}

func (c condition) String() string                 { return c.text }
func (c condition) Wait(ctx context.Context) error { return c.wait(ctx) }

var _ Condition = condition{}

// APIServer holds when the API server says that it is ready.
func APIServer(client kubernetes.Interface) Condition {
	return condition{"the API server is ready", func(ctx context.Context) error { return answering(ctx, client, "/readyz") }}
}

// NodeReady holds when the node with that name is Ready.
func NodeReady(client kubernetes.Interface, name string) Condition {
	return condition{"node " + name + " is Ready", func(ctx context.Context) error {
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
		}, nodeReady)
	}}
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
	return condition{"the pods of kube-system run", func(ctx context.Context) error {
		pods := client.CoreV1().Pods(meta.NamespaceSystem)
		return until(ctx, listWatch{
			list:  func(ctx context.Context, o meta.ListOptions) (runtime.Object, error) { return pods.List(ctx, o) },
			watch: pods.Watch,
		}, systemPods)
	}}
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
	return condition{"the default service account exists", func(ctx context.Context) error {
		accounts := client.CoreV1().ServiceAccounts(meta.NamespaceDefault)
		return until(ctx, listWatch{
			list:  func(ctx context.Context, o meta.ListOptions) (runtime.Object, error) { return accounts.List(ctx, o) },
			watch: accounts.Watch,
		}, func(objects map[string]runtime.Object) error {
			for _, object := range objects {
				if account, ok := object.(*core.ServiceAccount); ok && account.Name == "default" {
					return nil
				}
			}
			return errors.New("the controller-manager has not made it yet")
		})
	}}
}

const dnsAnswers = "cluster DNS answers"

// ClusterDNS holds when cluster DNS, asked on the node at its Service's address, knows the API server's Service. That
// takes CoreDNS and kube-proxy.
func ClusterDNS(runner machine.Runner, config Config, client kubernetes.Interface) Condition {
	return condition{dnsAnswers, func(ctx context.Context) error {
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
		}, endpointReady)
		if err != nil {
			return err
		}
		return resolves(ctx, runner, config)
	}}
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

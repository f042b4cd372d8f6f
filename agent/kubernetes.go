package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/skiff-k8s/skiff/agent/publish"
	"github.com/skiff-k8s/skiff/agent/services"
	"github.com/skiff-k8s/skiff/agent/sleep"
)

const (
	kubeletPort  = 10250
	probeTimeout = 1500 * time.Millisecond
)

// watcher is the agent's side of Kubernetes: at most one cluster whose Services are published.
type watcher struct {
	config    Config
	link      link
	dial      published
	sleeper   *sleep.Sleeper
	publisher *publish.Publisher
	log       *slog.Logger

	mu         sync.Mutex
	kubeconfig []byte
	client     kubernetes.Interface
	end        func()        // ends the watch and waits for it; nil when there is none
	published  chan struct{} // closed once the watch has published what it found; nil when there is none
}

// watch begins to publish the Services of the cluster that kubeconfig names, until ctx ends or it is called for another.
func (w *watcher) watch(ctx context.Context, kubeconfig []byte) error {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.Dial = w.reach
	config.UserAgent = "skiff-agent"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("use the kubeconfig: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if bytes.Equal(w.kubeconfig, kubeconfig) {
		return nil
	}
	if w.end != nil {
		w.end()
	}
	w.kubeconfig, w.client = kubeconfig, client
	// client-go speaks of every attempt; its own words are for those who debug it.
	ctx, cancel := context.WithCancel(klog.NewContext(ctx, logr.Discard()))
	published := make(chan struct{})
	run := &services.Watcher{
		Client: client, Place: w.place(), Publisher: w.publisher, Log: w.log, Published: sync.OnceFunc(func() { close(published) }),
	}
	w.published = published
	var running sync.WaitGroup
	running.Go(func() {
		if err := run.Run(ctx); err != nil {
			w.log.Error("Services are not watched", "err", err)
		}
	})
	w.end = func() {
		cancel()
		running.Wait()
	}
	return nil
}

func (w *watcher) place() services.Place {
	reserved := map[uint16]string{}
	for _, port := range w.config.Ports {
		reserved[port.Host] = port.Name
	}
	return services.Place{Address: w.config.Address, Guest: w.config.Guest, Joined: w.config.Joined, Reserved: reserved}
}

// reach connects to the API server. While the machine sleeps it waits, so that a watch that was lost meanwhile goes on as soon
// as somebody else has woken the machine, and not when its next attempt is due.
func (w *watcher) reach(ctx context.Context, protocol, address string) (net.Conn, error) {
	if err := w.sleeper.Awake(ctx); err != nil {
		return nil, err
	}
	return w.dial.DialContext(ctx, protocol, address)
}

// stop ends the watch, if there is one, and waits for it.
func (w *watcher) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end != nil {
		w.end()
	}
	w.kubeconfig, w.client, w.end, w.published = nil, nil, nil, nil
}

// wait returns once the Services that there are have their ports; at once when none are watched.
func (w *watcher) wait(ctx context.Context) error {
	w.mu.Lock()
	published := w.published
	w.mu.Unlock()
	if published == nil {
		return nil
	}
	select {
	case <-published:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// health asks the guest, each part at most for probeTimeout.
func (w *watcher) health(ctx context.Context) (health Health, watching bool) {
	w.mu.Lock()
	client := w.client
	w.mu.Unlock()
	if !w.link.Connected() {
		const off = "no machine is connected to the network"
		return Health{Kubelet: off, APIServer: off}, client != nil
	}
	if w.sleeper.Asleep() {
		const paused = "the machine is paused until somebody asks something of it"
		return Health{Kubelet: paused, APIServer: paused}, client != nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { health.Kubelet = sentence(w.kubelet(ctx)) })
	all.Go(func() { health.APIServer = sentence(apiServer(ctx, client)) })
	all.Go(func() { health.Disk = sentence(pressure(ctx, client)) })
	all.Wait()
	return health, client != nil
}

// kubelet reports whether the kubelet takes connections. What it would say needs its trust, and the API server knows better.
func (w *watcher) kubelet(ctx context.Context) error {
	conn, err := w.link.DialContext(ctx, netip.AddrPortFrom(w.config.Guest, kubeletPort))
	if err != nil {
		return fmt.Errorf("the kubelet does not answer: %w", err)
	}
	return conn.Close()
}

func apiServer(ctx context.Context, client kubernetes.Interface) error {
	if client == nil {
		return errors.New("the agent does not know the cluster's kubeconfig yet")
	}
	if err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err != nil {
		return fmt.Errorf("the API server is not ready: %w", err)
	}
	return nil
}

// pressure says that the kubelet has too little room on the machine's disk. An API server that does not answer says nothing of it.
func pressure(ctx context.Context, client kubernetes.Interface) error {
	if client == nil {
		return nil
	}
	// Version 0 is what the API server has in memory; any other list asks etcd first, which status would wait for.
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil //nolint:nilerr // that is said of the API server itself
	}
	for _, node := range nodes.Items {
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeDiskPressure && condition.Status == corev1.ConditionTrue {
				return errors.New("the machine's disk is nearly full")
			}
		}
	}
	return nil
}

func sentence(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

package services

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/skiff-k8s/skiff/agent/publish"
)

// callTimeout bounds one call to the API server.
const callTimeout = 10 * time.Second

// Publisher opens and closes ports; *publish.Publisher is one.
type Publisher interface {
	Set(requests []publish.Request)
}

// Watcher keeps what is published in step with the Services of a cluster.
type Watcher struct {
	Client    kubernetes.Interface
	Place     Place
	Publisher Publisher
	Log       *slog.Logger
	// Published, which may be nil, is called after each time that what the Services ask for was handed to the Publisher.
	Published func()
}

// all is the one entry of the queue: every change leads to the same decision over all Services.
const all = "services"

// Run watches until ctx ends. An API server that does not answer is tried again with the growing pauses of client-go, and
// what is published stays meanwhile.
func (w *Watcher) Run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(w.Client, 0)
	informer := factory.Core().V1().Services().Informer()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	changed := func() { queue.Add(all) }
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { changed() },
		UpdateFunc: func(any, any) { changed() },
		DeleteFunc: func(any) { changed() },
	})
	if err != nil {
		return fmt.Errorf("watch Services: %w", err)
	}
	err = informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		w.Log.Debug("watching Services was interrupted", "err", err)
	})
	if err != nil {
		return fmt.Errorf("watch Services: %w", err)
	}
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { informer.RunWithContext(ctx) })
	stop := context.AfterFunc(ctx, queue.ShutDown)
	defer stop()
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		queue.ShutDown()
		return nil
	}
	w.Log.Info("watching Services")
	changed() // a cluster without Services publishes none
	w.work(ctx, queue, factory.Core().V1().Services().Lister())
	return nil
}

func (w *Watcher) work(ctx context.Context, queue workqueue.TypedRateLimitingInterface[string], lister listers.ServiceLister) {
	for {
		item, shutdown := queue.Get()
		if shutdown {
			return
		}
		err := w.reconcile(ctx, lister)
		if err != nil && ctx.Err() == nil {
			w.Log.Warn("telling Kubernetes what is published failed, trying again", "err", err)
			queue.AddRateLimited(item)
		} else {
			queue.Forget(item)
		}
		queue.Done(item)
	}
}

func (w *Watcher) reconcile(ctx context.Context, lister listers.ServiceLister) error {
	list, err := lister.List(labels.Everything())
	if err != nil {
		return err
	}
	decision := Decide(list, w.Place)
	w.Publisher.Set(decision.Publish)
	if w.Published != nil {
		w.Published()
	}
	var problems []error
	for _, status := range decision.Statuses {
		problems = append(problems, w.write(ctx, status))
	}
	for _, refusal := range decision.Refused {
		problems = append(problems, w.warn(ctx, refusal))
	}
	return errors.Join(problems...)
}

// write patches the one field of the status. A Service that is gone needs none.
func (w *Watcher) write(ctx context.Context, status Status) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"loadBalancer": map[string]any{"ingress": status.Ingress}}})
	if err != nil {
		return err
	}
	service := status.Service
	_, err = w.Client.CoreV1().Services(service.Namespace).
		Patch(ctx, service.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "skiff"}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write the status of Service %s/%s: %w", service.Namespace, service.Name, err)
	}
	return nil
}

// warn puts an Event at the Service. Its name follows from what it says, so that the same one is there once.
func (w *Watcher) warn(ctx context.Context, refusal Refusal) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	service := refusal.Service
	sum := sha256.Sum256([]byte(string(service.UID) + refusal.Reason))
	now := metav1.Now()
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: service.Namespace, Name: service.Name + "." + hex.EncodeToString(sum[:8])},
		InvolvedObject: corev1.ObjectReference{
			Kind: "Service", APIVersion: "v1", Namespace: service.Namespace, Name: service.Name, UID: service.UID,
			ResourceVersion: service.ResourceVersion,
		},
		Type: corev1.EventTypeWarning, Reason: "NotPublished", Message: refusal.Reason,
		Source: corev1.EventSource{Component: "skiff"}, FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	_, err := w.Client.CoreV1().Events(service.Namespace).Create(ctx, event, metav1.CreateOptions{})
	switch {
	case err == nil, apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err), apierrors.IsForbidden(err): // the last: a namespace that is going
		return nil
	}
	return fmt.Errorf("note an event at Service %s/%s: %w", service.Namespace, service.Name, err)
}

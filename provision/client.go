package provision

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// probeTick is how often the API server is asked whether it is there yet. Each answer costs an emulated machine about
	// 20 ms.
	probeTick = 300 * time.Millisecond
	// probeLimit bounds one such question: a forwarder accepts connections for a guest that does not.
	probeLimit = 10 * time.Second
)

// REST returns how the API server is reached from the host with all rights, from its first moment.
func (p *PKI) REST(config Config) *rest.Config {
	cert, key := p.superAdmin()
	return &rest.Config{
		Host:            config.hostURL(),
		TLSClientConfig: rest.TLSClientConfig{CAData: p.ca(), CertData: cert, KeyData: key},
		// Protobuf costs the guest less than JSON.
		ContentConfig: rest.ContentConfig{
			ContentType:        runtime.ContentTypeProtobuf,
			AcceptContentTypes: runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON,
		},
		QPS: -1, // few requests, all wanted at once
	}
}

// Client returns a client with the rights of REST.
func (p *PKI) Client(config Config) (kubernetes.Interface, error) {
	client, err := kubernetes.NewForConfig(p.REST(config))
	if err != nil {
		return nil, fmt.Errorf("make API client: %w", err)
	}
	return client, nil
}

// answering returns once the API server answers at path, such as /livez, with status 200.
func answering(ctx context.Context, client kubernetes.Interface, path string) error {
	return retry(ctx, probeTick, func() error { return ask(ctx, client, path) })
}

// retry calls do at each tick until it returns nil. When ctx ends first, the error has what do said last while there was
// time.
func retry(ctx context.Context, tick time.Duration, do func() error) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	last := errors.New("none")
	for {
		err := do()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%w; last answer: %w", ctx.Err(), last)
		}
	}
}

// ask asks once.
func ask(ctx context.Context, client kubernetes.Interface, path string) error {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	var status int
	result := client.Discovery().RESTClient().Get().AbsPath(path).MaxRetries(0).Do(ctx).StatusCode(&status)
	if status == http.StatusOK {
		return nil
	}
	if err := result.Error(); err != nil {
		return err
	}
	return fmt.Errorf("status %d", status)
}

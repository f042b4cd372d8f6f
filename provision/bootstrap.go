package provision

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/skiff-k8s/skiff/machine"
)

const (
	// etcdURL is etcd's API in JSON, as the machine itself reaches it.
	etcdURL = "https://127.0.0.1:2379/v3/kv/txn"
	// etcdBatch is how many objects go into one transaction: etcd takes 128 operations by default (server/embed, DefaultMaxTxnOps).
	etcdBatch = 100
	// etcdTick is how often etcd is asked whether it is there yet.
	etcdTick = 200 * time.Millisecond
)

// bootstrap writes into etcd what the API server would create one by one when it starts for the first time. It then finds all
// as it would have it. What is there already is left alone: whoever comes first makes it, and an error here changes nothing.
// See site/content/design/first-objects.md for what it brings.
func (u *up) bootstrap(ctx context.Context) error {
	batches, err := bootstrapBatches(u.config.Bootstrap, time.Now())
	if err != nil || len(batches) == 0 {
		return err
	}
	client, err := u.pki.etcdClient(u.runner)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	for _, batch := range batches {
		if err := retry(ctx, etcdTick, func() error { return postTxn(ctx, client, batch) }); err != nil {
			return fmt.Errorf("write the first objects into etcd: %w", err)
		}
	}
	return nil
}

// etcdClient reaches etcd on the machine behind runner.
func (p *PKI) etcdClient(runner machine.Runner) (*http.Client, error) {
	config, err := p.clientTLS("etcd/healthcheck-client", "etcd/ca")
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return machine.Dial(ctx, runner, network, addr)
		},
		TLSClientConfig: config,
	}}, nil
}

// txn is a transaction of etcd in JSON (api/etcdserverpb/rpc.proto, TxnRequest): bytes are base64, as encoding/json has them.
type txn struct {
	Compare []txnCompare `json:"compare"`
	Success []txnOp      `json:"success"`
}

type txnCompare struct {
	Key     []byte `json:"key"`
	Target  string `json:"target"`
	Version string `json:"version"` // how often the key was written
}

type txnOp struct {
	Put txnPut `json:"requestPut"`
}

type txnPut struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

// bootstrapBatches makes transactions of the image's list of objects, each of which gets what makes it one of its own.
func bootstrapBatches(list []byte, now time.Time) ([]txn, error) {
	if len(list) == 0 {
		return nil, nil
	}
	var entries []struct {
		Key   string         `json:"key"`
		Value map[string]any `json:"value"`
	}
	if err := json.Unmarshal(list, &entries); err != nil {
		return nil, fmt.Errorf("read the image's list of first objects: %w", err)
	}
	var batches []txn
	for chunk := range slices.Chunk(entries, etcdBatch) {
		var batch txn
		for _, entry := range chunk {
			metadata, ok := entry.Value["metadata"].(map[string]any)
			if !ok {
				return nil, fmt.Errorf("read the image's list of first objects: %s has no metadata", entry.Key)
			}
			metadata["uid"] = uuid.NewString()
			metadata["creationTimestamp"] = now.UTC().Format(time.RFC3339)
			value, err := json.Marshal(entry.Value)
			if err != nil {
				return nil, err
			}
			batch.Compare = append(batch.Compare, txnCompare{Key: []byte(entry.Key), Target: "VERSION", Version: "0"})
			batch.Success = append(batch.Success, txnOp{txnPut{Key: []byte(entry.Key), Value: value}})
		}
		batches = append(batches, batch)
	}
	return batches, nil
}

// postTxn carries a transaction out. One whose comparison fails has been carried out, too.
func postTxn(ctx context.Context, client *http.Client, batch txn) error {
	body, err := json.Marshal(batch)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, etcdURL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s: %s", response.Status, bytes.TrimSpace(answer))
	}
	return nil
}

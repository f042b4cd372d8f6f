package manifest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Kubectl is the client that the guest image brings for the host: kubectl with `convert` built in. It needs neither a
// cluster nor the network, and does not read the user's kubeconfig. It is safe for concurrent use.
type Kubectl struct {
	Path string // of the executable
}

var (
	_ Converter = Kubectl{}
	_ Builder   = Kubectl{}
)

// Convert raises one object to the version that this Kubernetes prefers. A cancelled ctx ends the tool.
func (k Kubectl) Convert(ctx context.Context, object []byte) ([]byte, error) {
	out, err := k.run(ctx, object, "convert", "--local", "-o", "json", "-f", "-")
	if err != nil {
		return nil, err
	}
	// What comes from standard input is answered as a list, a single object too.
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("kubectl convert: read its output: %w", err)
	}
	if len(list.Items) != 1 {
		return nil, fmt.Errorf("kubectl convert: returned %d objects for one", len(list.Items))
	}
	return list.Items[0], nil
}

// Build returns the manifest that the kustomization in dir describes.
func (k Kubectl) Build(ctx context.Context, dir string) ([]byte, error) {
	return k.run(ctx, nil, "kustomize", dir)
}

func (k Kubectl) run(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, k.Path, args...)
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	// A broken kubeconfig of the user's must not stand in the way of work that needs none.
	command.Env = append(os.Environ(), "KUBECONFIG="+os.DevNull)
	if err := command.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("kubectl %s: %w", args[0], ctx.Err())
		}
		if said := strings.TrimPrefix(strings.TrimSpace(stderr.String()), "error: "); said != "" {
			return nil, fmt.Errorf("kubectl %s: %s", args[0], said)
		}
		return nil, fmt.Errorf("kubectl %s: %w", args[0], err)
	}
	return stdout.Bytes(), nil
}

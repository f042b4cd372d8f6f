package dashboard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/manifest"
)

// maxManifest bounds a manifest, in bytes; an API server takes 3 MiB in a request.
const maxManifest = 16 << 20

// applied is what came of a manifest.
type applied struct {
	Changes []string `json:"changes"`          // what was raised to an API version that the cluster serves, and what else was changed for it
	Output  string   `json:"output"`           // one line for each object
	Raised  string   `json:"raised,omitempty"` // the manifest that was applied, when it is not the one that was sent
}

// apply does what `skiff apply` does with the manifest in the body: it raises removed API versions, then applies. With
// ?how=replace it replaces objects that exist, and a resourceVersion in them that is not the newest is a conflict (409). With
// ?check nothing is changed, and the API server says whether it would take the manifest.
func (s *Server) apply(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxManifest))
	if err != nil {
		failed(w, fail.New(fail.ManifestInvalid, "read the manifest", "%w", err))
		return
	}
	verb := "apply"
	if r.FormValue("how") == "replace" {
		verb = "replace"
	}
	args := []string{verb, "-f", "-"}
	if r.Form.Has("check") {
		args = append(args, "--dry-run=server")
	}
	if namespace := r.FormValue("namespace"); namespace != "" {
		args = append(args, "--namespace="+namespace)
	}
	result, err := s.applyManifest(r.Context(), content, args)
	switch {
	case err == nil:
		answer(w, http.StatusOK, result)
	case conflicts(err):
		answer(w, http.StatusConflict, problemOf(err))
	default:
		failed(w, err)
	}
}

func (s *Server) applyManifest(ctx context.Context, content []byte, args []string) (applied, error) {
	result := applied{Changes: []string{}}
	if manifest.Blank(content) {
		return result, fail.New(fail.ManifestInvalid, "read the manifest", "there are no objects in it")
	}
	tool, kubeconfig, err := s.options.Clusters.Kubectl(ctx, s.options.Profile)
	if err != nil {
		return result, err
	}
	raised, changes, err := manifest.Raise(ctx, manifest.Kubectl{Path: tool}, "manifest.yaml", content)
	if err != nil {
		return result, err
	}
	for _, change := range changes {
		result.Changes = append(result.Changes, change.String())
	}
	if len(changes) > 0 {
		result.Raised = string(raised)
	}
	result.Output, err = runKubectl(ctx, tool, kubeconfig, raised, args...)
	return result, err
}

// kubectlError is what kubectl printed when it failed.
type kubectlError struct {
	said string
	done string // stdout: what it did before that, as half of a manifest may be applied
}

func (e *kubectlError) Error() string { return e.said }

// conflicts reports whether an object was changed by somebody else meanwhile. kubectl tells in words alone; they are those of
// k8s.io/apimachinery, pkg/api/errors.
func conflicts(err error) bool {
	said, ok := errors.AsType[*kubectlError](err)
	return ok && strings.Contains(said.said, "Error from server (Conflict)")
}

// runKubectl runs the cluster's own kubectl, and returns what it printed.
func runKubectl(ctx context.Context, tool, kubeconfig string, stdin []byte, args ...string) (string, error) {
	command := exec.CommandContext(ctx, tool, args...)
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	command.Env = append(slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "KUBECONFIG=")
	}), "KUBECONFIG="+kubeconfig)
	err := command.Run()
	switch said := strings.TrimSpace(stderr.String()); {
	case err == nil:
		return stdout.String(), nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("kubectl %s: %w", args[0], context.Cause(ctx))
	case said != "":
		return "", &kubectlError{said, stdout.String()}
	default:
		return "", fmt.Errorf("kubectl %s: %w", args[0], err)
	}
}

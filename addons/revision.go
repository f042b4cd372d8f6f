package addons

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
)

// The objects that an addon lists as ready, which are applied last, carry in this annotation what all of the addon was
// rendered from.
const annotationRevision = "skiff.dev/revision"

// revision is a digest of what the addon's objects depend on, apart from keys that are made anew each time.
func (a Addon) revision(address netip.Addr, settings map[string]string) string {
	hash := sha256.New()
	fmt.Fprintf(hash, "%q %q\n", address, settings) // fmt sorts maps
	for _, file := range a.files {
		fmt.Fprintf(hash, "%q %q\n", file.name, file.text)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// Current reports whether the cluster has the addon just as objects, which Render returned, would make it: an Enable of the same
// ended there, and no certificate of it is to be renewed. What a user changed or removed by hand since then is not looked for.
func Current(ctx context.Context, config *rest.Config, objects []*unstructured.Unstructured) (bool, error) {
	c, err := newClient(config)
	if err != nil {
		return false, err
	}
	tasks, groupCtx := errgroup.WithContext(ctx)
	for _, object := range objects {
		if object.GetAnnotations()[annotationRevision] == "" && object.GetAnnotations()[annotationKeep] == "" {
			continue
		}
		tasks.Go(func() error {
			return c.retry(groupCtx, func() error { return c.current(groupCtx, object) })
		})
	}
	switch err := tasks.Wait(); {
	case err == nil:
		return true, nil
	case errors.Is(err, errDiffers):
		return false, nil
	default:
		return false, failure(ctx, "enable", objects, err)
	}
}

// errDiffers says that an object is not as it should be.
var errDiffers = errors.New("it differs")

// current returns errDiffers where Enable would put something else in the place of what there is.
func (c *client) current(ctx context.Context, object *unstructured.Unstructured) error {
	resource, err := c.resource(object.GetAPIVersion(), object.GetKind(), object.GetNamespace())
	if err != nil {
		return err
	}
	existing, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return errDiffers
	}
	if err != nil {
		return err
	}
	have, want := existing.GetAnnotations(), object.GetAnnotations()
	if have[annotationRevision] != want[annotationRevision] || existing.GetDeletionTimestamp() != nil ||
		want[annotationKeep] != "" && !keeps(existing, object, time.Now()) {
		return errDiffers
	}
	return nil
}

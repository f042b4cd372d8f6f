package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// noteLoaded remembers which images were loaded, for Hands.Loaded. The file is appended to, so that two loads may end at once.
func noteLoaded(files store.Cluster, images []Image) error {
	known, err := loadedNames(files)
	if err != nil {
		return err
	}
	var more strings.Builder
	for _, one := range images {
		if !slices.Contains(known, one.Name) {
			more.WriteString(one.Name + "\n")
		}
	}
	if more.Len() == 0 {
		return nil
	}
	file, err := os.OpenFile(files.Loaded(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(more.String())
	return errors.Join(err, file.Close())
}

func loadedNames(files store.Cluster) ([]string, error) {
	content, err := os.ReadFile(files.Loaded())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return strings.Fields(string(content)), nil
}

// Loaded returns the manifest of an image that was loaded from an archive, as the node has it now; fs.ErrNotExist when none of
// that name was, or the node has it no more. The node alone knows: the image may have been loaded again, removed, or rolled
// back with a snapshot. It is asked past the published ports, as a request there would keep the machine awake.
func (h Hands) Loaded(ctx context.Context, image string) ([]byte, error) {
	names, err := loadedNames(h.Home.Cluster(h.Profile))
	if err != nil {
		return nil, err
	}
	if !slices.Contains(names, image) {
		return nil, fs.ErrNotExist
	}
	c, err := h.Load(h.Profile)
	if err != nil {
		return nil, err
	}
	vm, spec, err := h.machine(c)
	if err != nil {
		return nil, err
	}
	if c.SSH != nil { // its user may have to become root first, which its driver knows
		return manifestOf(ctx, vm, image)
	}
	runner := h.Runner(spec.SSH)
	defer func() { _ = runner.Close() }()
	return manifestOf(ctx, runner, image)
}

// manifestOf reads the manifest, or index, of an image that the node has.
func manifestOf(ctx context.Context, node machine.Runner, image string) ([]byte, error) {
	result, err := node.Run(ctx, machine.Cmd{Args: ctr("images", "list", "name=="+image)})
	if err != nil {
		return nil, err
	}
	found := listed(string(result.Stdout))
	if len(found) != 1 || found[0].Name != image {
		return nil, fs.ErrNotExist
	}
	result, err = node.Run(ctx, machine.Cmd{Args: ctr("content", "get", found[0].Digest)})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(result.Stdout)
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != found[0].Digest {
		return nil, fmt.Errorf("the node's manifest of %s has the digest %s, not %s", image, got, found[0].Digest)
	}
	return result.Stdout, nil
}

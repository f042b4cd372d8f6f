package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// unpackConfig keeps everything out of containerd that unpacking does not use.
const unpackConfig = `version = 3
root = %q
state = %q
disabled_plugins = [
  "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing", "io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.native", "io.containerd.differ.v1.erofs",
]
[grpc]
  address = %q
[ttrpc]
  address = %q
`

// unpack imports the images of the layout into containerd's store in root, the folder that the guest has as /var/lib/containerd, by
// running our containerd on this host. Stand-ins stay out: they are pulled, as the images they stand for would be.
func unpack(ctx context.Context, programs, layoutDir, root string) (err error) {
	work, err := os.MkdirTemp("", "skiff-containerd-") // short, for the socket
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	socket, config := filepath.Join(work, "c.sock"), filepath.Join(work, "config.toml")
	text := fmt.Sprintf(unpackConfig, root, filepath.Join(work, "state"), socket, filepath.Join(work, "t.sock"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	archive, err := writeLayoutTar(layoutDir, filepath.Join(work, "images.tar"))
	if err != nil {
		return err
	}
	stop, err := serve(ctx, filepath.Join(programs, "containerd"), config, socket)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(ctx, filepath.Join(programs, "ctr"), socket, archive), stop()); err != nil {
		return err
	}
	return normaliseStore(root)
}

// fill imports the archive and lets containerd's collector take away the layers' archives, now that they are unpacked.
func fill(ctx context.Context, ctr, socket, archive string) error {
	for _, args := range [][]string{
		// The label keeps kubelet from removing images when the disk is full: without a network they would not come back.
		{"images", "import", "--local", "--discard-unpacked-layers", "--platform", "linux/amd64", "--label", "io.cri-containerd.pinned=pinned",
			"--label", "io.cri-containerd.image=managed", archive},
		// The end of a lease is what the collector can be waited for with.
		{"leases", "create", "--id", "collect"},
		{"leases", "delete", "--sync", "collect"},
	} {
		if _, err := (command{args: append([]string{ctr, "--address", socket, "--namespace", "k8s.io"}, args...)}).run(ctx); err != nil {
			return err
		}
	}
	return nil
}

func writeLayoutTar(layoutDir, path string) (string, error) {
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if err := layoutTar(layoutDir, file, func(d v1.Descriptor) bool { return d.Annotations[StandInLabel] != "" }); err != nil {
		return "", err
	}
	return path, file.Close()
}

// serve starts containerd and returns when it answers. The function it returns ends it and waits for that.
func serve(ctx context.Context, program, config, socket string) (func() error, error) {
	cmd := exec.CommandContext(ctx, program, "--config", config)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			return nil, fmt.Errorf("containerd ended: %w\n%s", err, tail(log.String(), 20))
		case <-ticker.C:
		}
		var dialer net.Dialer
		if conn, err := dialer.DialContext(ctx, "unix", socket); err == nil {
			conn.Close()
			break
		}
	}
	return func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		if err := <-ended; err != nil && ctx.Err() == nil {
			return fmt.Errorf("end containerd: %w\n%s", err, tail(log.String(), 20))
		}
		return ctx.Err()
	}, nil
}

// normaliseStore takes out of containerd's store what differs from build to build.
func normaliseStore(root string) error {
	databases := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir() && entry.Name() == "fs" && filepath.Base(filepath.Dir(filepath.Dir(path))) == "snapshots":
			return filepath.SkipDir
		case entry.Type().IsRegular() && strings.HasSuffix(entry.Name(), ".db"):
			databases++
			return normaliseBolt(path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if databases != 2 {
		return fmt.Errorf("containerd's store has %d databases, want those of metadata and snapshots", databases)
	}
	return removeAll(root, []string{"io.containerd.content.v1.content/ingest/*", "io.containerd.grpc.v1.introspection", "tmpmounts/*"})
}

// shareKube makes the guest's kube the same file as that of the images' layer, so that programs inside and outside of containers
// share disk and page cache.
func shareKube(store, target string) error {
	found, err := filepath.Glob(filepath.Join(store, "io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/usr/local/bin/kube"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("look for kube in the unpacked images: found %q, want one: %w", found, err)
	}
	return os.Link(found[0], target)
}

package clustertest

import (
	"context"
	"os"
	"path/filepath"
	"runtime"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/images"
)

// kubectl is a stand-in for the host's tool: it tells how it was called, and what it was given. The argument "exit" makes
// it end with the status that follows; "wait" makes it write the file that follows and wait for a signal.
const kubectl = `#!/bin/sh
if [ "$1" = exit ]; then exit "$2"; fi
if [ "$1" = wait ]; then echo waiting; trap 'echo signalled; exit 3' TERM; : >"$2"; while :; do sleep 0.05; done; fi
if [ "$1" = convert ]; then sed 's,extensions/v1beta1,apps/v1,; s/^/{"items":[/; s/$/]}/'; exit; fi
if [ "$1" = kustomize ]; then cat "$2"/*.yaml; exit; fi
if [ "$1" = __complete ]; then shift; echo "pods	of $*"; echo ":4"; exit; fi
echo "kubectl $*"
echo "KUBECONFIG=$KUBECONFIG"
if [ "$1" = apply ]; then cat; fi
`

// Image makes the folder of a guest image in dir: a complete manifest over files of a few bytes. Tools in it are shell
// scripts that tell how they were called.
func Image(ctx context.Context, dir string) error {
	files := []struct {
		name    string
		content string
		mode    os.FileMode
		sparse  bool
	}{
		{images.DiskName, "a disk", 0o444, true},
		{images.KernelName, "a kernel", 0o444, false},
		{images.InitrdName, "an initrd", 0o444, false},
		{images.KubectlName, kubectl, 0o555, false},
		{images.MirrorName + "/index.json", `{"schemaVersion":2,"manifests":[]}`, 0o444, false},
		{images.MirrorName + "/oci-layout", `{"imageLayoutVersion":"1.0.0"}`, 0o444, false},
	}
	manifest := images.Manifest{
		KubernetesVersion: cluster.KubernetesVersion, Architecture: runtime.GOARCH, Cmdline: "console=ttyS0 root=/dev/vda", DiskBytes: 20 << 30,
		Files: map[string]images.File{},
		Components: []images.Component{
			{Name: "containerd", Module: "github.com/containerd/containerd/v2", Version: "v2.4.2"},
			{Name: "kubernetes", Module: "k8s.io/kubernetes", Version: cluster.KubernetesVersion},
		},
	}
	for _, one := range files {
		path := filepath.Join(dir, filepath.FromSlash(one.name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(one.content), 0o600); err != nil {
			return err
		}
		if err := os.Chmod(path, one.mode); err != nil {
			return err
		}
		sum, err := images.Hash(ctx, path, one.sparse, nil)
		if err != nil {
			return err
		}
		manifest.Files[one.name] = images.File{
			Name: one.name, Size: int64(len(one.content)), SHA256: sum, Sparse: one.sparse, Mode: uint32(one.mode),
		}
	}
	content, err := manifest.Encode()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, images.ManifestName), content, 0o600)
}

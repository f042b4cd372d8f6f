package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/skiff-k8s/skiff/images"
)

// component is one program, or a few of one module, that runs in the guest.
type component struct {
	name    string
	module  string
	version string            // of the module
	outputs map[string]string // file name → package path
	printed map[string]string // file name → path of the package whose program prints it
	tags    string
	ldflags string
	cgo     bool
	expect  time.Duration
	// prepare changes a copy of the component's folder before the build. Its effect must follow from the module's version
	// and the code here; recipe names it in the key.
	prepare func(ctx context.Context, dir string) error
	recipe  string
}

// KubernetesVersion is the version of Kubernetes in the image.
const KubernetesVersion = "v1.37.2"

const (
	etcdVersion    = "3.7.3"
	corednsVersion = "1.15.0"
	traefikVersion = "3.7.13"
	pauseVersion   = "3.10.2" // what kubeadm of this version asks for (cmd/kubeadm/app/constants)
)

// components returns all programs that are built from Go modules.
func components() []component {
	cni := "github.com/containernetworking/plugins/plugins/"
	containerd := "github.com/containerd/containerd/v2/cmd/"
	return []component{
		{
			name: "kubernetes", module: "k8s.io/kubernetes", version: KubernetesVersion, ldflags: kubernetesFlags(), expect: 7 * time.Minute,
			outputs: map[string]string{"kube": ".", "kubectl": "./kubectl"},
			printed: map[string]string{images.BootstrapName: "./bootstrap"},
		},
		{
			name: "etcd", module: "go.etcd.io/etcd/server/v3", version: "v" + etcdVersion, expect: 30 * time.Second,
			outputs: map[string]string{"etcd": "go.etcd.io/etcd/server/v3"},
		},
		{
			name: "containerd", module: "github.com/containerd/containerd/v2", version: "v2.4.2", expect: 100 * time.Second,
			outputs: map[string]string{
				"containerd": containerd + "containerd", "containerd-shim-runc-v2": containerd + "containerd-shim-runc-v2", "ctr": containerd + "ctr",
			},
			tags:    "no_btrfs no_aufs no_zfs no_devmapper urfave_cli_no_docs",
			ldflags: "-X github.com/containerd/containerd/v2/version.Version=v2.4.2",
		},
		{
			name: "runc", module: "github.com/opencontainers/runc", version: "v1.5.2", expect: 25 * time.Second,
			outputs: map[string]string{"runc": "github.com/opencontainers/runc"},
			// Without seccomp no pod starts: kubelet's default profile needs it. Static, as the guest lacks the library.
			tags: "seccomp netgo osusergo", ldflags: "-linkmode external -extldflags -static -X main.version=1.5.2", cgo: true,
		},
		{
			name: "cni", module: "github.com/containernetworking/plugins", version: "v1.9.1", expect: 15 * time.Second,
			outputs: map[string]string{
				"bridge": cni + "main/bridge", "host-local": cni + "ipam/host-local", "loopback": cni + "main/loopback", "portmap": cni + "meta/portmap",
			},
		},
		{
			name: "coredns", module: "github.com/coredns/coredns", version: "v" + corednsVersion, expect: time.Minute,
			outputs: map[string]string{"coredns": "."},
		},
		{
			name: "traefik", module: "github.com/traefik/traefik/v3", version: "v" + traefikVersion, expect: 3 * time.Minute,
			outputs: map[string]string{"traefik": "github.com/traefik/traefik/v3/cmd/traefik"},
			ldflags: "-X github.com/traefik/traefik/v3/pkg/version.Version=" + traefikVersion,
			prepare: prepareTraefik, recipe: "lego " + legoVersion + " without DNS providers, no ECS, 2",
		},
		{
			name: "http-echo", module: "github.com/skiff-k8s/skiff/images/components/http-echo", version: "v1", expect: 3 * time.Second,
			outputs: map[string]string{"http-echo": "."},
		},
	}
}

// kubernetesFlags sets what `--version` and the API's /version say; without it that is v0.0.0-master, which kubeadm refuses.
func kubernetesFlags() string {
	parts := strings.Split(strings.TrimPrefix(KubernetesVersion, "v"), ".")
	var flags []string
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, setting := range []string{
			"gitVersion=" + KubernetesVersion, "gitCommit=unknown", "gitTreeState=clean", "buildDate=1970-01-01T00:00:00Z",
			"gitMajor=" + parts[0], "gitMinor=" + parts[1],
		} {
			flags = append(flags, "-X "+pkg+"."+setting)
		}
	}
	return strings.Join(flags, " ")
}

// componentStep returns the step that builds c from its folder below source.
func componentStep(c component, source, goVersion string) (*Step, error) {
	dir := filepath.Join(source, "images", "components", c.name)
	digest, err := hashTree(dir)
	if err != nil {
		return nil, err
	}
	return &Step{
		Name: c.name, Expect: c.expect, Alone: true,
		Inputs: []string{
			goVersion, digest, c.version, c.tags, c.ldflags, fmt.Sprint(c.cgo), c.recipe, fmt.Sprint(sorted(c.outputs), sorted(c.printed)),
		},
		Before: func(ctx context.Context) { download(ctx, c, dir) },
		Do:     func(ctx context.Context, out string) error { return buildComponent(ctx, c, dir, out) },
	}, nil
}

// download fetches the modules that c is built from, and no more: some that its go.mod names cannot be had. One that has to be
// prepared first is left to its build.
func download(ctx context.Context, c component, dir string) {
	if c.prepare != nil {
		return
	}
	args := []string{"go", "list", "-deps", "-tags", c.tags}
	for _, name := range sorted(c.outputs) {
		args = append(args, c.outputs[name])
	}
	_, _ = command{dir: dir, env: goEnv(c.cgo), args: args}.run(ctx)
}

func buildComponent(ctx context.Context, c component, dir, out string) error {
	flags := []string{"-trimpath", "-tags", c.tags, "-ldflags", strings.TrimSpace("-s -w " + c.ldflags)}
	if c.prepare != nil {
		work, err := os.MkdirTemp(filepath.Dir(out), "work-"+c.name+"-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		if err := os.CopyFS(filepath.Join(work, "src"), os.DirFS(dir)); err != nil {
			return err
		}
		dir = filepath.Join(work, "src")
		if err := c.prepare(ctx, dir); err != nil {
			return err
		}
	}
	env := goEnv(c.cgo)
	for _, name := range sorted(c.outputs) {
		args := append([]string{"go", "build"}, flags...)
		args = append(args, "-o", filepath.Join(out, name), c.outputs[name])
		if _, err := (command{dir: dir, env: env, args: args}).run(ctx); err != nil {
			return err
		}
	}
	for _, name := range sorted(c.printed) {
		args := append([]string{"go", "run"}, flags...)
		text, err := command{dir: dir, env: env, args: append(args, c.printed[name])}.run(ctx)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// goEnv makes the build independent of the user's settings of Go, as far as they change the result.
func goEnv(cgo bool) []string {
	enabled := "0"
	if cgo {
		enabled = "1"
	}
	return []string{
		"CGO_ENABLED=" + enabled, "GOFLAGS=-buildvcs=false", "GOWORK=off", "GOTOOLCHAIN=local", "GOOS=linux", "GOARCH=amd64",
		"GOAMD64=v1", "GOEXPERIMENT=", "CGO_CFLAGS=-O2", "CGO_LDFLAGS=",
	}
}

// pauseStep builds the first process of every pod.
func pauseStep(source string) (*Step, error) {
	dir := filepath.Join(source, "images", "components", "pause")
	digest, err := hashTree(dir)
	if err != nil {
		return nil, err
	}
	flags := []string{"-Os", "-static", "-s", "-Wall", "-Wextra", "-Werror", "-Wl,--build-id=none"}
	return &Step{
		Name: "pause", Expect: time.Second, Inputs: []string{digest, strings.Join(flags, " ")},
		Do: func(ctx context.Context, out string) error {
			args := slices.Concat([]string{"gcc"}, flags, []string{"-o", filepath.Join(out, "pause"), "pause.c"})
			_, err := command{dir: dir, args: args}.run(ctx)
			return err
		},
	}, nil
}

func sorted(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

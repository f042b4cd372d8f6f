// Package build makes the guest image: it compiles the programs, makes a root file system from Debian's packages, unpacks our
// container images into it and writes the folder that package images describes. It works in steps whose results are
// kept, so that a second build does only what changed.
package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/skiff-k8s/skiff/images"
)

// cmdline is the part of the kernel's command line that is right whatever executes the guest; package tuning has the rest. The
// console is for diagnosis and kept quiet, as each line takes time. Entropy comes from the host in any case
// (random.trust_cpu=on). A guest whose host is busy or has slept would be taken for one with broken timers, or for locked up
// (no_timer_check, nowatchdog).
const cmdline = "console=ttyS0 root=/dev/vda rw rootfstype=ext4 net.ifnames=0 quiet loglevel=4 systemd.show_status=false " +
	"random.trust_cpu=on no_timer_check audit=0 nowatchdog 8250.nr_uarts=1 panic=10"

// Options say where a build reads and writes.
type Options struct {
	Version string      // of skiff; the image's manifest names it
	Source  string      // the checkout; its folder images/components is compiled
	Cache   string      // results of steps; see DefaultCache
	Images  string      // finished images, and the link "current"
	Sink    func(Event) // may be nil
}

// Result is a finished image.
type Result struct {
	Dir      string // its folder
	Manifest images.Manifest
	Fresh    bool // something had to be made
	// Packages is when the packages of Debian were fetched; the zero Time when the folder that had them is gone.
	Packages time.Time
	// Old is why Packages is longer ago than a month: newer ones could not be had, or built with. Nil when they are no older.
	Old error
}

// DefaultFolders returns the folders of step results and of finished images below the user's cache folder.
func DefaultFolders() (cache, imagesDir string, err error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", "", err
	}
	return filepath.Join(base, "skiff", "build"), filepath.Join(base, "skiff", "images"), nil
}

// Build makes the image, or finds that it is there already, and points "current" to it. It needs root for the
// root file system. Packages of Debian that are older than a month are fetched anew where that can be done. It may be interrupted and called again at any time; two builds do not run side by side.
func Build(ctx context.Context, o Options) (Result, error) {
	if err := errors.Join(os.MkdirAll(o.Cache, 0o755), os.MkdirAll(o.Images, 0o755)); err != nil {
		return Result{}, err
	}
	lock := flock.New(filepath.Join(o.Cache, "lock"))
	if _, err := lock.TryLockContext(ctx, time.Second); err != nil {
		return Result{}, fmt.Errorf("wait for another build: %w", err)
	}
	defer func() { _ = lock.Unlock() }()
	cache := Cache{Root: o.Cache}
	debian := roots{cache: cache, step: debianStep, check: checkHost, now: time.Now(), sink: o.Sink}
	goal, fresh, old, err := debian.build(ctx, func(debian *Step) (*Step, error) { return plan(ctx, cache, o, debian) })
	if err != nil {
		return Result{}, err
	}
	m, err := images.ReadManifest(cache.Dir(goal))
	if err != nil {
		return Result{}, err
	}
	dir, err := publish(cache.Dir(goal), o.Images, m)
	return Result{Dir: dir, Manifest: m, Fresh: fresh, Packages: cache.made(goal, debianStep("").Name), Old: old}, err
}

// checkHost says everything that is missing at once.
func checkHost() error {
	var problems []error
	for _, tool := range slices.Sorted(mapKeys(tools)) {
		if _, err := exec.LookPath(tool); err != nil {
			problems = append(problems, fmt.Errorf("%s is missing: install the Debian package %s", tool, tools[tool]))
		}
	}
	if os.Geteuid() != 0 {
		problems = append(problems, errors.New("building the image needs root, for the owners of its files; using it does not"))
	}
	return errors.Join(problems...)
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

// plan returns the step whose result is the image folder, with all that it needs; debian is the step of the root file system.
func plan(ctx context.Context, cache Cache, o Options, debian *Step) (*Step, error) {
	source := o.Source
	version, err := command{args: []string{"go", "env", "GOVERSION"}}.run(ctx)
	if err != nil {
		return nil, err
	}
	version = strings.TrimSpace(version)
	made := map[string]*Step{}
	list := components()
	for _, c := range list {
		if made[c.name], err = componentStep(c, source, version); err != nil {
			return nil, err
		}
	}
	if made["pause"], err = pauseStep(source); err != nil {
		return nil, err
	}
	qemu, err := qemuStep(source)
	if err != nil {
		return nil, err
	}
	program := func(component, file string) string { return filepath.Join(cache.Dir(made[component]), file) }
	root := filepath.Join(cache.Dir(debian), "root")
	layout := layoutStep(made, debian, root, program)
	files, err := guest()
	if err != nil {
		return nil, err
	}
	digest, err := hashFS(files)
	if err != nil {
		return nil, err
	}
	disk := &Step{
		Name: "disk", Expect: 25 * time.Second, Needs: []*Step{debian, layout, made["containerd"], made["runc"], made["cni"]},
		Inputs: []string{digest, strings.Join(masked, " "), fmt.Sprint(enabled), strings.Join(kubeNames, " "), fmt.Sprint(diskBytes), diskUUID, hashSeed, unpackConfig, "3"},
		Do: func(ctx context.Context, out string) error {
			return disk{debian: root, guest: files, layout: filepath.Join(cache.Dir(layout), images.MirrorName), program: program}.make(ctx, out)
		},
	}
	initrd := &Step{
		Name: "initrd", Expect: time.Second, Needs: []*Step{debian},
		Inputs: []string{initScript, strings.Join(bootModules, " "), "1"},
		Do: func(_ context.Context, out string) error {
			modules, err := modulesDir(root)
			if err != nil {
				return err
			}
			busybox, err := exec.LookPath("busybox")
			if err != nil {
				return err
			}
			file, err := os.Create(filepath.Join(out, images.InitrdName))
			if err != nil {
				return err
			}
			defer file.Close()
			if err := writeInitrd(file, busybox, modules); err != nil {
				return err
			}
			return file.Close()
		},
	}
	folder := folder{skiff: o.Version, cache: cache, debian: debian, layout: layout, disk: disk, initrd: initrd, qemu: qemu, made: made, components: list}
	return folder.step(), nil
}

// layoutStep makes all container images as one OCI image layout.
func layoutStep(made map[string]*Step, debian *Step, root string, program programs) *Step {
	step := &Step{
		Name: "containers", Expect: 6 * time.Second, Needs: []*Step{debian},
		Inputs: []string{epoch.String(), "1"},
		Do: func(ctx context.Context, out string) error {
			nft, err := nftEntries(root)
			if err != nil {
				return err
			}
			certificates := filepath.Join(root, "etc/ssl/certs/ca-certificates.crt")
			return writeLayout(ctx, filepath.Join(out, images.MirrorName), containers(program, nft, certificates))
		},
	}
	for _, name := range []string{"kubernetes", "etcd", "coredns", "traefik", "http-echo", "pause"} {
		step.Needs = append(step.Needs, made[name])
	}
	for _, c := range containers(func(component, file string) string { return component + "/" + file }, nil, "") {
		step.Inputs = append(step.Inputs, fmt.Sprintf("%+v", c))
	}
	return step
}

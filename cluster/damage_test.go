package cluster_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
)

// TestDamagedKeys: without its keys nobody gets into a machine. Everything that would says which file it is, and what needs
// no keys works.
func TestDamagedKeys(t *testing.T) {
	t.Parallel()
	garbage := func(path string) error { return os.WriteFile(path, []byte("garbage"), 0o600) }
	for name, damage := range map[string]func(user, host string) (string, error){
		"bad user key": func(user, _ string) (string, error) { return user, garbage(user) },
		"bad host key": func(_, host string) (string, error) { return host, garbage(host) },
		"no user key":  func(user, _ string) (string, error) { return user, os.Remove(user) },
		"no host key":  func(_, host string) (string, error) { return host, os.Remove(host) },
	} {
		for _, state := range []string{"running", "stopped"} {
			t.Run(name+", "+state, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.starts(w.options())
				if state == "stopped" {
					w.stops()
				}
				own := w.Home.Cluster("dev").Node("skiff")
				path, err := damage(own.UserKey(), own.HostKey())
				w.must(err)
				_, startErr := w.Start(t.Context(), w.options(), w.sink)
				_, statusErr := w.Status(t.Context(), "dev")
				_, machineErr := w.Machine(t.Context(), "dev")
				for what, err := range map[string]error{"start": startErr, "status": statusErr, "use": machineErr} {
					if !fail.Is(err, fail.StateCorrupt) || !strings.Contains(err.Error(), path) {
						t.Errorf("%s: got error %v, want %s of %s", what, err, fail.StateCorrupt, path)
					}
				}
				if state == "running" {
					if _, err := w.Stop(t.Context(), cluster.StopOptions{Profile: "dev"}, w.sink); err != nil {
						t.Errorf("stop: %v", err)
					}
				}
				w.deletes()
				w.gone()
			})
		}
	}
}

// TestDamagedKubeconfig: what is in a cluster's own kubeconfig is in its keys as well, so it is written again.
func TestDamagedKubeconfig(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(string) error{
		"garbage": func(path string) error { return os.WriteFile(path, []byte("garbage"), 0o600) },
		"empty":   func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"none":    os.Remove,
	} {
		for _, state := range []string{"running", "stopped"} {
			t.Run(name+", "+state, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.starts(w.options())
				if state == "stopped" {
					w.stops()
				}
				w.must(damage(w.Home.Cluster("dev").Kubeconfig()))
				w.starts(w.options())
				if got := w.status(); got != allWell {
					t.Errorf("status: got %q, want %q", got, allWell)
				}
			})
		}
	}
}

// TestDamagedKeysOfKubernetes: certificates and keys that are none keep no start back. Authorities are left to the steps that can
// ask the machine for them (see provision.Restore), and all others are issued again.
func TestDamagedKeysOfKubernetes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	started := w.starts(w.options())
	files := w.Home.Cluster("dev")
	target := cluster.Target{Config: started.Config, Files: files}
	target.Config.Provisioned = false // the first keys are made for a cluster that has not been brought up
	w.must(cluster.LiveKubernetes{}.Prepare(t.Context(), target))
	target.Config.Provisioned = true
	paths, err := filepath.Glob(filepath.Join(files.PKI(), "*.*"))
	w.must(err)
	if len(paths) < 10 {
		t.Fatalf("got the files %q, want those of a cluster", paths)
	}
	for _, path := range paths {
		w.must(os.WriteFile(path, []byte("garbage"), 0o600))
		if err := (cluster.LiveKubernetes{}).Prepare(t.Context(), target); err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
}

// TestUnknownDriver: a file that was edited by hand can name a driver that there is not.
func TestUnknownDriver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.stops()
	known := w.Drivers
	w.Drivers = func(name string) (drivers.Driver, error) {
		if name == "banana" {
			return nil, fail.New(fail.DriverNotFound, "use driver "+name, "no driver has that name")
		}
		return known(name)
	}
	file := w.Home.Cluster("dev").File()
	content, err := os.ReadFile(file)
	w.must(err)
	w.must(os.WriteFile(file, []byte(strings.Replace(string(content), "driver: fake", "driver: banana", 1)), 0o600))
	_, startErr := w.Start(t.Context(), w.options(), w.sink)
	_, statusErr := w.Status(t.Context(), "dev")
	for what, err := range map[string]error{"start": startErr, "status": statusErr} {
		if !fail.Is(err, fail.StateCorrupt) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), `driver "banana": no driver has that name`) {
			t.Errorf("%s: got error %v, want %s of %s", what, err, fail.StateCorrupt, file)
		}
	}
	w.deletes()
	w.gone()
}

// TestWithoutLibvirt: a cluster of a libvirt that cannot be asked is given up with --force, and its logs can be read.
func TestWithoutLibvirt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.must(os.WriteFile(w.Home.Cluster("dev").StepLog("kubernetes"), []byte("line\n"), 0o600))
	gone := fake.Failure{ID: fail.LibvirtUnreachable, Error: "libvirt does not answer"}
	w.driver = fake.Options{Failures: map[fake.Op]fake.Failure{fake.State: gone, fake.Delete: gone}}
	_, stopErr := w.Stop(t.Context(), cluster.StopOptions{Profile: "dev"}, w.sink)
	_, deleteErr := w.Delete(t.Context(), cluster.DeleteOptions{Profile: "dev"}, w.sink)
	for what, err := range map[string]error{"stop": stopErr, "delete": deleteErr} {
		known, ok := errors.AsType[*fail.Error](err)
		if !ok || known.ID != fail.LibvirtUnreachable || !strings.Contains(known.Hint+known.Next, "skiff delete -p dev --force") && what == "stop" || what == "delete" && known.Next != "skiff delete -p dev --force" {
			t.Errorf("%s: got error %+v, want %s with skiff delete --force", what, known, fail.LibvirtUnreachable)
		}
	}
	sources, vm, err := w.Logs(t.Context(), "dev")
	if err != nil || vm != nil || len(sources) == 0 {
		t.Errorf("logs: got %v of machine %v and error %v, want those on the host", sources, vm, err)
	}
	if _, err := w.Delete(t.Context(), cluster.DeleteOptions{Profile: "dev", Force: true}, w.sink); err != nil {
		t.Errorf("delete by force: %v", err)
	}
	w.gone()
}

// TestDamagedImage: the guest image below a cluster is installed again where it is at hand. Where it is not, that is said.
func TestDamagedImage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(base string) error
		id     fail.ID // where it is not at hand
	}{
		"all gone":     {os.RemoveAll, fail.ImageMissing},
		"no manifest":  {func(base string) error { return os.Remove(filepath.Join(base, images.ManifestName)) }, fail.ImageMissing},
		"no disk":      {func(base string) error { return os.Remove(filepath.Join(base, images.DiskName)) }, fail.ImageMissing},
		"bad manifest": {func(base string) error { return replace(filepath.Join(base, images.ManifestName)) }, fail.ChecksumMismatch},
		"bad disk":     {func(base string) error { return replace(filepath.Join(base, images.DiskName)) }, fail.ChecksumMismatch},
	} {
		for _, state := range []string{"kept", "powered off"} {
			t.Run(name+", "+state, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				base := w.Home.BaseImage(w.starts(w.options()).Config.Image)
				if state == "kept" {
					w.stops()
				} else {
					w.powersOff()
				}
				w.must(test.damage(base))
				// As the driver qemu says it of a disk that stands on nothing.
				w.driver.Failures = map[fake.Op]fake.Failure{fake.State: {ID: fail.ImageMissing, Error: "its image is not there", Times: 1}}
				built := w.Built
				for _, elsewhere := range []string{filepath.Join(t.TempDir(), "none"), other(t)} {
					w.Built = elsewhere
					w.fails(w.options(), test.id)
				}
				w.Built = built
				w.starts(w.options())
				w.driver.Failures = nil
				if got := w.status(); got != allWell {
					t.Errorf("status: got %q, want %q", got, allWell)
				}
				if err := images.Reread(t.Context(), base); err != nil {
					t.Errorf("the image: %v", err)
				}
			})
		}
	}
}

// replace puts another file in the place of one that others may be linked to.
func replace(path string) error { return replaceWith(path, []byte("garbage")) }

// other returns the folder of another image.
func other(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "other")
	if err := clustertest.Image(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	manifest, err := images.ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest.Cmdline += " other"
	content, err := manifest.Encode()
	if err == nil {
		err = replaceWith(filepath.Join(dir, images.ManifestName), content)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func replaceWith(path string, content []byte) error {
	return errors.Join(os.Remove(path), os.WriteFile(path, content, 0o600))
}

// TestDamagedImageOfRunning: a machine that runs has all that it needs of its image, and is left alone.
func TestDamagedImageOfRunning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.must(os.RemoveAll(w.Home.Base()))
	w.Built = filepath.Join(t.TempDir(), "none")
	if started := w.starts(w.options()); len(started.Plan.Steps) != 0 {
		t.Errorf("got the plan\n%s, want none", started.Plan)
	}
}

package doctor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/store"
)

// What this user owns and may not use is named with the command that opens it; what is another's is left to root.
func TestClosedPaths(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("modes of files do not bind root")
	}
	for name, test := range map[string]struct {
		check string
		sick  func(p *patient)
		want  string // the command
		mends bool
	}{
		"a folder": {"folders", func(p *patient) {
			p.must(store.Folder(p.Home.Cache))
			p.must(os.Chmod(p.Home.Cache, 0o500))
		}, "chmod u+rwx DIR/home/cache", true},
		"a folder above one that is not there": {"folders", func(p *patient) {
			p.Home.Cache = filepath.Join(p.dir, "closed", "cache")
			p.must(os.Mkdir(filepath.Dir(p.Home.Cache), 0o500))
		}, "chmod u+rwx DIR/closed", false},
		"a folder above that hides all": {"folders", func(p *patient) {
			p.Home.Cache = filepath.Join(p.dir, "closed", "cache")
			p.must(store.Folder(p.Home.Cache))
			p.must(os.Chmod(filepath.Dir(p.Home.Cache), 0o600))
		}, "chmod u+rwx DIR/closed", false},
		"a folder to be made in root's": {"folders", func(p *patient) { p.Home.Cache = "/usr/skiff cache" },
			"sudo install -d -m 700 -o UID '/usr/skiff cache'", false},
		"a folder hidden in root's": {"folders", func(p *patient) { p.Home.Cache = "/proc/1/cwd/skiff" }, `eval "export HOME=~$(id -un)"`, false},
		"a folder hidden in root's, by a variable": {"folders", func(p *patient) {
			p.Home.Cache, p.env["SKIFF_HOME"] = "/proc/1/cwd/skiff", "/proc/1/cwd"
		}, "unset SKIFF_HOME", false},
		"a kubeconfig": {"kubeconfig", func(p *patient) {
			p.write(p.Kubeconfig, "")
			p.must(os.Chmod(p.Kubeconfig, 0o000))
		}, "chmod u+rw DIR/kubeconfig", true},
		"a kubeconfig in a closed folder": {"kubeconfig", func(p *patient) {
			p.Kubeconfig = filepath.Join(p.dir, "closed", "kubeconfig")
			p.write(p.Kubeconfig, "")
			p.must(os.Chmod(filepath.Dir(p.Kubeconfig), 0o600))
		}, "chmod u+rwx DIR/closed", false},
		"a kubeconfig without room for its lock": {"kubeconfig", func(p *patient) {
			p.Kubeconfig = filepath.Join(p.dir, "closed", "kubeconfig")
			p.write(p.Kubeconfig, "")
			p.must(os.Chmod(filepath.Dir(p.Kubeconfig), 0o500))
		}, "chmod u+rwx DIR/closed", false},
		"a kubeconfig to be made in a closed folder": {"kubeconfig", func(p *patient) {
			p.Kubeconfig = filepath.Join(p.dir, "closed", "kubeconfig")
			p.must(os.Mkdir(filepath.Dir(p.Kubeconfig), 0o500))
		}, "chmod u+rwx DIR/closed", false},
		"a kubeconfig of root's": {"kubeconfig", func(p *patient) {
			p.Kubeconfig, p.env["KUBECONFIG"] = "/proc/1/cwd/kubeconfig", "/proc/1/cwd/kubeconfig"
		}, "unset KUBECONFIG", false},
		"a kubeconfig to be made in root's at home": {"kubeconfig", func(p *patient) {
			p.Kubeconfig, p.env["HOME"] = "/usr/lib/config", "/usr"
		}, fmt.Sprintf("sudo chown %d /usr/lib", os.Geteuid()), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t)
			test.sick(p)
			t.Cleanup(func() { _ = os.Chmod(filepath.Join(p.dir, "closed"), 0o700) }) // so that it can be removed
			n := 0
			for _, one := range p.examine().Checks {
				if one.Name != test.check || one.Remedy == "" {
					continue
				}
				n++
				got := strings.ReplaceAll(strings.ReplaceAll(one.Remedy, p.dir, "DIR"), fmt.Sprintf("-o %d ", os.Geteuid()), "-o UID ")
				if got != test.want || one.Fix != test.mends {
					t.Errorf("got %+v, want %q, done by --fix: %t", one, test.want, test.mends)
				}
			}
			if n != 1 {
				t.Errorf("got %d commands, want one", n)
			}
			if !test.mends {
				return
			}
			if did, left := p.fix(test.check); len(did) != 1 || did[0].Error != "" || len(left) > 0 {
				t.Errorf("did %+v and left %+v, want it mended", did, left)
			}
		})
	}
}

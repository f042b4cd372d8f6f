package doctor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/doctor"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/kubeconfig"
	"github.com/skiff-k8s/skiff/store"
)

// fix mends what the doctor finds, and returns what was done and what is left of the check.
func (p *patient) fix(check string) (did []doctor.Fixed, left []doctor.Finding) {
	p.t.Helper()
	after, err := p.Fix(p.t.Context(), p.examine(), func(one doctor.Fixed) { did = append(did, one) })
	p.must(err)
	if after.Fixed == nil || !slices.Equal(did, after.Fixed) {
		p.t.Errorf("told %+v, and the report has %+v", did, after.Fixed)
	}
	for _, one := range after.Checks {
		if one.Name == check && one.Level != drivers.Good {
			left = append(left, one)
		}
	}
	return did, left
}

func TestFix(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		check string
		sick  func(p *patient)
		want  []string // the beginnings of what it says that it did
		well  func(p *patient) bool
	}{
		"nothing": {"clock", func(*patient) {}, nil, func(*patient) bool { return true }},
		"open folder": {
			"folders", func(p *patient) { p.must(os.Chmod(p.cluster("dev").Dir, 0o755)) },
			[]string{"Closed folder "}, func(p *patient) bool { return mode(p.Home.Cluster("dev").Dir) == 0o700 },
		},
		"open kubeconfig": {
			"kubeconfig", func(p *patient) {
				p.cluster("dev")
				p.entry("dev", "https://127.77.9.1:6443")
				p.must(os.Chmod(p.Kubeconfig, 0o644))
			},
			[]string{"Closed "}, func(p *patient) bool { return mode(p.Kubeconfig) == 0o600 },
		},
		"half image": {
			"image", func(p *patient) { p.must(store.Folder(p.Home.BaseImage("abc.partial"))) },
			[]string{"Removed the half installed image "}, func(p *patient) bool { return !there(p.Home.BaseImage("abc.partial")) },
		},
		"broken image that nobody uses": {
			"image", func(p *patient) { p.flip(filepath.Join(p.Home.BaseImage(p.image()), images.InitrdName)) },
			[]string{"Removed the broken image "}, func(p *patient) bool { return !there(p.Home.BaseImage(p.image())) },
		},
		"broken image that a cluster uses": {
			"image", func(p *patient) {
				p.cluster("dev")
				p.flip(filepath.Join(p.Home.BaseImage(p.image()), images.InitrdName))
			},
			[]string{"Installed the image in "},
			func(p *patient) bool { return images.Reread(p.t.Context(), p.Home.BaseImage(p.image())) == nil },
		},
		"stale context": {
			"kubeconfig", func(p *patient) {
				p.cluster("dev")
				p.entry("dev", "https://127.77.9.1:6443")
				p.entry("gone", "https://127.77.254.1:6443")
			},
			[]string{`Removed context "gone"`}, func(p *patient) bool {
				entries, err := kubeconfig.Entries(p.Kubeconfig)
				return err == nil && len(entries) == 1 && entries[0].Name == "dev"
			},
		},
		"stale lock": {
			"kubeconfig", func(p *patient) {
				p.write(p.Kubeconfig+".lock", "")
				p.must(os.Chtimes(p.Kubeconfig+".lock", time.Now(), time.Now().Add(-time.Hour)))
			},
			[]string{"Removed the lock "}, func(p *patient) bool { return !there(p.Kubeconfig + ".lock") },
		},
		"leftovers": {
			"leftovers", func(p *patient) { p.cluster("dev"); p.leave() },
			[]string{"Deleted machine skiff of cluster gone", "Ended the agent of cluster gone", "Removed the sockets ", "Removed the lock "},
			func(p *patient) bool {
				found, err := p.Drivers[0].Machines(p.t.Context())
				return err == nil && len(found) == 1 && found[0].Cluster == "foreign" && there(p.Home.Cluster("dev").File()) &&
					there(p.Home.Cluster("dev").Run) && !there(p.Home.Cluster("gone").Run) && !there(p.Home.Cluster("gone").Dir)
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t)
			test.sick(p)
			did, left := p.fix(test.check)
			if len(left) > 0 {
				t.Errorf("left: got %+v, want nothing", left)
			}
			if !slices.EqualFunc(did, test.want, func(one doctor.Fixed, want string) bool {
				return one.Error == "" && strings.HasPrefix(one.Text, want)
			}) {
				t.Errorf("did: got %+v, want %q", did, test.want)
			}
			if !test.well(p) {
				t.Error("it is not as it should be")
			}
			if did, _ := p.fix(test.check); len(did) > 0 {
				t.Errorf("the second time: got %+v, want nothing", did)
			}
		})
	}
}

func mode(path string) os.FileMode {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Mode().Perm()
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestFixSparesWhatIsInUse: what another command holds is left, and said.
func TestFixSparesWhatIsInUse(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	half := p.Home.BaseImage("abc.partial")
	p.must(store.Folder(half))
	release, err := store.TryLock(p.Home.BaseLock(), store.Holder{Command: "skiff start", PID: 7})
	p.must(err)
	defer release()
	did, left := p.fix("image")
	if len(did) != 1 || !strings.Contains(did[0].Error, `"skiff start"`) || len(left) != 1 || !there(half) {
		t.Errorf("got %+v, and left %+v; want neither done", did, left)
	}
}

// TestFixChecksAgain: what has become right since it was looked at is not touched.
func TestFixChecksAgain(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.entry("gone", "https://127.77.254.1:6443")
	p.leave()
	report := p.examine()
	for _, profile := range []string{"gone", "older"} {
		p.cluster(profile)
	}
	after, err := p.Fix(t.Context(), report, func(one doctor.Fixed) { t.Errorf("did %+v, want nothing", one) })
	p.must(err)
	if len(after.Fixed) > 0 || !there(p.Home.Cluster("gone").AgentSocket()) {
		t.Errorf("got %+v, want nothing done", after.Fixed)
	}
}

// TestFixSparesAnotherHome: under another HOME, as through sudo -E, the folder of sockets may be the one of clusters that
// are described elsewhere.
func TestFixSparesAnotherHome(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	theirs := p.Home
	theirs.State = filepath.Join(p.dir, "theirs")
	node := theirs.Cluster("lost").Node("skiff") // its agent has ended, and its machine runs
	p.must(store.Folder(node.Dir))
	p.must(store.Folder(node.Run))
	_, err := p.Drivers[0].Create(t.Context(), machine.Spec{Cluster: "lost", Name: "skiff", Dir: node.Dir, RunDir: node.Run})
	p.must(err)
	files := theirs.Cluster("reached")
	p.must(clustertest.Agents{}.Start(t.Context(), filepath.Join(p.dir, "agent.json"),
		agent.Config{Profile: "reached", APISocket: files.AgentSocket(), LogFile: files.AgentLog()}))
	if did, left := p.fix("leftovers"); len(did)+len(left) > 0 || !there(files.AgentSocket()) || !there(theirs.Cluster("lost").Run) {
		t.Errorf("did %+v, and left %+v; want the others' agent and sockets left alone", did, left)
	}
}

// TestLeftoversOfAllDrivers: whichever driver the report is cut to, all are asked for machines, as sockets without an agent
// may be those of a machine that runs.
func TestLeftoversOfAllDrivers(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	with := func(name string) drivers.Driver {
		return fake.New(fake.Options{Name: name, Registry: filepath.Join(p.dir, name)})
	}
	p.Drivers, p.Named = []drivers.Driver{with("first"), with("second")}, []drivers.Driver{with("third")}
	theirs := p.Home
	theirs.State = filepath.Join(p.dir, "theirs")
	for home, prefix := range map[store.Home]string{p.Home: "ours-", theirs: "theirs-"} {
		for _, driver := range append(p.Drivers, p.Named...) {
			node := home.Cluster(prefix + driver.Name()).Node("skiff")
			p.must(store.Folder(node.Dir))
			p.must(store.Folder(node.Run))
			_, err := driver.Create(t.Context(), machine.Spec{Cluster: prefix + driver.Name(), Name: "skiff", Dir: node.Dir, RunDir: node.Run})
			p.must(err)
		}
	}
	p.Only = "first"
	did, left := p.fix("leftovers")
	if len(left) > 0 {
		t.Errorf("left %+v, want nothing of this Home's", left)
	}
	for _, name := range []string{"first", "second", "third"} {
		if dir := theirs.Cluster("theirs-" + name).Run; !there(dir) {
			t.Errorf("%s is gone: did %+v", dir, did)
		}
		want := "Deleted machine skiff of cluster ours-" + name
		if !slices.ContainsFunc(did, func(one doctor.Fixed) bool { return one.Error == "" && strings.HasPrefix(one.Text, want) }) {
			t.Errorf("did %+v, want %q", did, want)
		}
	}
}

// TestFixSparesWhatIsNotKnown: a driver that cannot say which machines it has may have one at those sockets, unless what it
// works with is not installed at all.
func TestFixSparesWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	for name, missing := range map[string]bool{"refuses": false, "is not installed": true} {
		p := newPatient(t)
		p.Named = []drivers.Driver{fake.New(fake.Options{
			Name:     "mute",
			Findings: []drivers.Finding{{Name: "mute", Level: drivers.Failure, Text: "It does not work.", Missing: missing}},
			Failures: map[fake.Op]fake.Failure{fake.List: {Error: "no answer"}},
		})}
		dir := p.Home.Cluster("older").Run
		p.must(store.Folder(dir))
		did, left := p.fix("leftovers")
		if there(dir) == missing || (len(left) == 1) == missing || (len(did) == 1) != missing {
			t.Errorf("a driver %s: did %+v and left %+v, want the sockets to be removed: %t", name, did, left, missing)
		}
	}
}

func TestChecksHaveALimit(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	free := make(chan struct{})
	defer close(free)
	p.FreeBytes = func(string) (int64, error) { <-free; return 0, nil }
	for _, check := range p.Checks() {
		if check.Limit <= 0 || check.Limit > 5*time.Minute {
			t.Errorf("%s: got a limit of %s, want one of seconds", check.Name, check.Limit)
		}
		if check.Name != "disk" {
			continue
		}
		check.Limit = 20 * time.Millisecond
		got := check.Do(t.Context())
		if len(got) != 1 || got[0].Level != drivers.Warning || got[0].Name != "disk" || got[0].Text != "Not known: it took longer than 20ms to find out." {
			t.Errorf("a check that hangs: got %+v, want a warning that it is not known", got)
		}
	}
}

// TestChecksRunAtOnce: one that waits does not keep the others from it.
func TestChecksRunAtOnce(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.Listen = refusing(nil)
	asked := make(chan struct{})
	p.FreeBytes = func(string) (int64, error) { // of the check "disk", which comes before "proxy"
		select {
		case <-asked:
			return 1 << 40, nil
		case <-time.After(time.Minute):
			return 0, errors.New("the other check was not run")
		}
	}
	p.Env = func(name string) string {
		if name == "all_proxy" { // the last that is asked
			close(asked)
		}
		return ""
	}
	if report := p.examine(); report.Failed() || report.Count(drivers.Warning) > 0 {
		t.Errorf("got %+v, want no warning", report.Checks)
	}
}

func TestExamineIsCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newPatient(t).Examine(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}

// TestDrivers: which drivers count, and what is said of them.
func TestDrivers(t *testing.T) {
	t.Parallel()
	absent := drivers.Finding{Name: "program", Level: drivers.Failure, Text: "It is not there.", Remedy: "get it", Missing: true}
	refused := drivers.Finding{Name: "socket", Level: drivers.Failure, Text: "It refuses.", Remedy: "ask it"}
	slow := drivers.Finding{Name: "speed", Level: drivers.Warning, Text: "It is slow.", Remedy: "push it"}
	fine := drivers.Finding{Name: "program", Level: drivers.Good, Text: "It is there."}
	with := func(name string, findings ...drivers.Finding) drivers.Driver {
		return fake.New(fake.Options{Name: name, Findings: findings})
	}
	tests := map[string]struct {
		drivers []drivers.Driver
		named   []drivers.Driver
		only    string
		use     string // driver of a cluster
		failed  bool
		needed  []string
	}{
		"the first works":              {[]drivers.Driver{with("a", fine), with("b", absent)}, nil, "", "", false, []string{"a"}},
		"the second works":             {[]drivers.Driver{with("a", absent), with("b", slow)}, nil, "", "", false, []string{"b"}},
		"none works":                   {[]drivers.Driver{with("a", absent), with("b", refused)}, nil, "", "", true, []string{"a", "b"}},
		"the one that was named":       {[]drivers.Driver{with("a", fine), with("b", absent)}, nil, "b", "", true, []string{"b"}},
		"a named one that works":       {[]drivers.Driver{with("a", absent)}, []drivers.Driver{with("b", fine)}, "b", "", false, []string{"b"}},
		"one that a cluster needs":     {[]drivers.Driver{with("a", fine), with("fake", absent)}, nil, "", "fake", true, []string{"a", "fake"}},
		"one that works and is needed": {[]drivers.Driver{with("a", fine), with("fake", fine)}, nil, "", "fake", false, []string{"a", "fake"}},
		"one to be named fails":        {[]drivers.Driver{with("a", fine)}, []drivers.Driver{with("b", absent)}, "", "", false, []string{"a"}},
		"only one to be named works":   {[]drivers.Driver{with("a", absent)}, []drivers.Driver{with("b", fine)}, "", "", true, []string{"a"}},
		"one that was named is needed": {[]drivers.Driver{with("a", fine)}, []drivers.Driver{with("fake", refused)}, "", "fake", true, []string{"a", "fake"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t)
			p.Listen = refusing(nil)
			p.Drivers, p.Named, p.Only = test.drivers, test.named, test.only
			if test.use != "" {
				p.cluster("dev")
			}
			report := p.examine()
			var all, needed []string
			for _, driver := range append(slices.Clip(test.drivers), test.named...) {
				if test.only == "" || test.only == driver.Name() {
					all = append(all, driver.Name())
				}
			}
			if !slices.EqualFunc(report.Drivers, all, func(got doctor.Driver, want string) bool { return got.Name == want }) {
				t.Errorf("got %+v, want a statement for each of %v", report.Drivers, all)
			}
			for _, driver := range report.Drivers {
				if driver.Needed {
					needed = append(needed, driver.Name)
				}
			}
			if report.Failed() != test.failed || !slices.Equal(needed, test.needed) {
				t.Errorf("got failed %t and needed %v, want %t and %v: %+v", report.Failed(), needed, test.failed, test.needed, report.Drivers)
			}
		})
	}

	got := doctor.Summarize("x", []drivers.Finding{fine, slow, refused, absent})
	if got.Healthy || got.Running || got.Installed || !got.NeedsImprovement || got.Error != refused.Text || got.Reason != refused.Text || got.Fix != refused.Remedy || len(got.Findings) != 4 {
		t.Errorf("Summarize of a driver that fails: got %+v", got)
	}
	got = doctor.Summarize("x", []drivers.Finding{slow, fine})
	if !got.Healthy || !got.Running || !got.Installed || got.Error != "" || got.Reason != slow.Text || got.Fix != slow.Remedy {
		t.Errorf("Summarize of a slow driver: got %+v", got)
	}
}

// TestAccelerator: what guests run on is shown by a guest, and without an image it is not known.
func TestAccelerator(t *testing.T) {
	t.Parallel()
	assumed := drivers.Finding{Name: "accelerator", Level: drivers.Good, Text: "kvm is there."}
	tests := map[string]struct {
		note    string
		words   string
		noImage bool
		want    drivers.Finding
	}{
		"fast":     {"", "", false, drivers.Finding{Name: "accelerator", Level: drivers.Good, Text: "A guest ran with fake."}},
		"slow":     {"kvm does not work: slower", "no entry", false, drivers.Finding{Name: "accelerator", Level: drivers.Warning, Text: "Kvm does not work: slower. The test said: No entry."}},
		"no image": {"", "", true, drivers.Finding{Name: "accelerator", Level: drivers.Warning, Remedy: "make image", Text: "Not known: without a guest image no guest can be run, and only that shows what guests run on."}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t)
			p.Drivers = []drivers.Driver{fake.New(fake.Options{Note: test.note, Words: test.words, Findings: []drivers.Finding{assumed}})}
			if test.noImage {
				p.must(os.RemoveAll(p.Home.Base()))
				p.Built += "x"
			}
			if got := p.examine().Drivers[0].Findings; len(got) != 1 || got[0].Finding != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

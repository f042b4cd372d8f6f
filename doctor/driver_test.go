package doctor_test

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skiff-k8s/skiff/doctor"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// silent is a driver whose technology does not answer.
type silent struct {
	drivers.Driver
	end chan struct{}
}

func (s silent) Check(context.Context) []drivers.Finding {
	<-s.end // whatever its limit is
	return nil
}

func TestQuickDoesNotWaitForASilentDriver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		driver := silent{Driver: fake.New(fake.Options{}), end: make(chan struct{})}
		defer close(driver.end)
		if found := doctor.Quick(t.Context(), driver); found.Healthy || found.Error == "" || found.Fix != "skiff doctor --driver fake" {
			t.Errorf("got %+v, want a failure and a command", found)
		}
	})
}

// hung is a driver of a technology that does not answer, which it says after ten seconds; guests run for ever.
type hung struct{ drivers.Driver }

func (hung) Check(ctx context.Context) []drivers.Finding {
	select {
	case <-time.After(10 * time.Second):
	case <-ctx.Done():
	}
	return []drivers.Finding{{Name: "hung", Level: drivers.Failure, Text: "It does not answer.", Remedy: "restart it"}}
}

func TestQuickWaitsForARemedy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if found := doctor.Quick(t.Context(), hung{fake.New(fake.Options{})}); found.Fix != "restart it" {
			t.Errorf("got %+v, want the driver's own remedy", found)
		}
	})
}

// eternal is a driver whose guests do not end.
type eternal struct{ drivers.Driver }

func (eternal) Accelerator(ctx context.Context, _ machine.Image) (name, note, words string) {
	<-ctx.Done()
	return "tcg", "", ""
}

// A driver that does not answer fails; one that works and whose guest takes long does not.
func TestExamineOfSlowDrivers(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.Listen = refusing(nil)
	now := time.Now()
	p.Now = func() time.Time { return now }
	synctest.Test(t, func(t *testing.T) {
		first := silent{Driver: fake.New(fake.Options{Name: "silent"}), end: make(chan struct{})}
		defer close(first.end)
		p.Drivers = []drivers.Driver{first, eternal{fake.New(fake.Options{Name: "eternal"})}}
		report, err := p.Examine(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := report.Drivers[0]; got.Healthy {
			t.Errorf("got %+v of a driver that does not answer, want a failure", got)
		}
		if got := report.Drivers[1]; !got.Healthy || !got.NeedsImprovement {
			t.Errorf("got %+v of a driver whose guest does not end, want a warning", got)
		}
	})
}

// placed is a driver with settings; one place refuses.
type placed struct {
	*fake.Driver
	dir string
}

func newPlaced(dir, uri string) placed {
	finding := drivers.Finding{Name: "place", Level: drivers.Good, Text: "It is at " + uri + "."}
	if uri == "down" {
		finding.Level = drivers.Failure
	}
	return placed{fake.New(fake.Options{Findings: []drivers.Finding{finding}, Registry: filepath.Join(dir, uri)}), dir}
}

func (p placed) With(settings drivers.Settings) (drivers.Driver, error) {
	if settings.LibvirtURI == "bad" {
		return nil, fail.New(fail.LibvirtURIInvalid, "use it", "it is bad").WithNext("take another")
	}
	return newPlaced(p.dir, cmp.Or(settings.LibvirtURI, "user")), nil
}

func (p placed) Places() []drivers.Driver { return []drivers.Driver{p, newPlaced(p.dir, "system")} }

// Drivers are looked at where clusters are, and where the next one would be.
func TestPlaces(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		set      string
		clusters map[string]string // URIs by name
		want     []string          // names and texts of findings, and "needed"
		failed   bool
	}{
		"nothing set":           {"", nil, []string{"place It is at user. needed"}, false},
		"set":                   {"system", nil, []string{"place It is at system. needed"}, false},
		"set, and is down":      {"down", nil, []string{"place It is at down. needed"}, true},
		"set, and is bad":       {"bad", nil, []string{"settings Use it: it is bad. needed"}, true},
		"used elsewhere":        {"", map[string]string{"a": "system", "b": "system", "c": ""}, []string{"place It is at user. needed", "place It is at system. needed"}, false},
		"used, and is down":     {"", map[string]string{"a": "down"}, []string{"place It is at user. needed", "place It is at down. needed"}, true},
		"the same by two names": {"", map[string]string{"a": "user"}, []string{"place It is at user. needed"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t)
			p.Listen = refusing(nil)
			p.Drivers, p.Settings.LibvirtURI = []drivers.Driver{newPlaced(p.dir, "user")}, test.set
			for profile, uri := range test.clusters {
				content, err := os.ReadFile(p.cluster(profile).File())
				p.must(err)
				if uri != "" {
					content = append(content, "libvirtURI: "+uri+"\n"...)
				}
				p.write(p.Home.Cluster(profile).File(), string(content))
			}
			report := p.examine()
			var got []string
			for _, driver := range report.Drivers {
				words := driver.Findings[0].Name + " " + driver.Findings[0].Text
				if driver.Needed {
					words += " needed"
				}
				got = append(got, words)
			}
			if !slices.Equal(got, test.want) || report.Failed() != test.failed {
				t.Errorf("got %q and failed %t, want %q and %t", got, report.Failed(), test.want, test.failed)
			}
		})
	}
}

// What clusters that are gone left is found also where none is now and nothing is set to.
func TestLeftoversInOtherPlaces(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.Drivers = []drivers.Driver{newPlaced(p.dir, "system")}
	p.leave()
	p.Drivers = []drivers.Driver{newPlaced(p.dir, "user")}
	for _, set := range []string{"system", ""} { // the first is asked twice, and told of once
		p.Settings.LibvirtURI = set
		n := 0
		for _, one := range p.examine().Checks {
			if strings.HasPrefix(one.Text, "Machine skiff of cluster gone, which is gone, is still there") {
				n++
			}
		}
		if n != 1 {
			t.Errorf("with %q set: the machine was found %d times, want once", set, n)
		}
	}
}

// remembering is a driver that remembers what its guests run on.
type remembering struct {
	drivers.Driver
	memory string
}

func (r remembering) Accelerator(context.Context, machine.Image) (name, note, words string) {
	if there(r.memory) {
		return "what it remembers", "", ""
	}
	_ = os.WriteFile(r.memory, nil, 0o600)
	return "what it tried", "", ""
}

// What a driver remembers of another day is no finding of today's.
func TestAcceleratorIsTriedAnew(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.must(store.Folder(p.Home.Cache))
	p.Drivers = []drivers.Driver{remembering{fake.New(fake.Options{}), p.Home.AcceleratorMemory()}}
	for range 2 {
		report := p.examine()
		if got := report.Drivers[0].Findings; got[len(got)-1].Text != "A guest ran with what it tried." {
			t.Errorf("got %+v, want what it tried", got)
		}
	}
}

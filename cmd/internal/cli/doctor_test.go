package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/skiff-k8s/skiff/doctor"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/builtin"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/store"
)

// found is a finding as a check makes it.
func found(name string, level drivers.Level, text, remedy string, fix bool) doctor.Finding {
	return doctor.Finding{Finding: drivers.Finding{Name: name, Level: level, Text: text, Remedy: remedy}, Fix: fix}
}

// TestReport: what the doctor says to people, and to programs.
func TestReport(t *testing.T) {
	t.Parallel()
	works := doctor.Summarize("qemu", []drivers.Finding{
		{Name: "qemu", Level: drivers.Good, Text: "qemu-system-x86_64 is of version 7.2.22."},
		{Name: "accelerator", Level: drivers.Warning, Text: "KVM is present but /dev/kvm may not be opened by this user: using software emulation, which is slower.", Remedy: "sudo usermod -aG kvm $USER"},
	})
	works.Needed = true
	fails := doctor.Summarize("libvirt", []drivers.Finding{
		{Name: "libvirt", Level: drivers.Failure, Text: "The library libvirt.so.0 is not there.", Remedy: "sudo apt-get install libvirt0", Missing: true},
	})
	well := found("clock", drivers.Good, "The clock agrees with the files and certificates of skiff's that are here.", "", false)
	tests := map[string]struct {
		report doctor.Report
		fixed  bool
	}{
		"healthy": {doctor.Report{Drivers: []doctor.Driver{works, fails}, Checks: []doctor.Finding{well}}, false},
		"sick": {doctor.Report{
			Drivers: []doctor.Driver{works},
			Checks: []doctor.Finding{
				well,
				found("image", drivers.Failure, "There is no guest image.", "make image", false),
				found("kubeconfig", drivers.Warning, `Context "old" leads to https://127.77.3.1:6443, where a cluster was that is gone.`, "skiff delete -p old", true),
				found("routes", drivers.Warning, "Not known: /proc/net/route is odd.", "", false),
			},
		}, false},
		"mended": {doctor.Report{
			Drivers: []doctor.Driver{works}, Checks: []doctor.Finding{well, found("folders", drivers.Warning, "Folder x has mode 755.", "chmod 700 x", true)},
			Fixed: []doctor.Fixed{{Name: "folders", Text: "Folder x has mode 755.", Error: "it is read-only"}},
		}, true},
		"nothing-to-mend": {doctor.Report{Drivers: []doctor.Driver{works}, Checks: []doctor.Finding{well}, Fixed: []doctor.Fixed{}}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if err := writeReport(&out, test.report, test.fixed); err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, filepath.Join("testdata", "doctor", name+".golden"), out.Bytes())
			content, err := json.MarshalIndent(test.report, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, filepath.Join("testdata", "doctor", name+".json"), append(content, '\n'))
		})
	}
}

// configurable is a driver that says which settings it has.
type configurable struct{ *fake.Driver }

func (configurable) With(settings drivers.Settings) (drivers.Driver, error) {
	return fake.New(fake.Options{Findings: []drivers.Finding{{
		Name: "place", Level: drivers.Warning, Text: settings.LibvirtURI + " with " + settings.Network,
	}}}), nil
}

// Drivers are looked at with the settings that the next cluster would have.
func TestDriversHaveTheSettings(t *testing.T) {
	t.Parallel()
	deps := testDeps(t)
	env := deps.Env
	deps.Env = func(name string) string {
		if name == "SKIFF_LIBVIRT_URI" {
			return "qemu:///system"
		}
		return env(name)
	}
	home, err := store.Locate(deps.Env)
	if err == nil {
		err = store.Write(home.Settings(), []byte("network: lan\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	deps.AllDrivers = func(store.Home) (auto, named []drivers.Driver) {
		return []drivers.Driver{configurable{fake.New(fake.Options{})}}, nil
	}
	for _, command := range []string{"drivers", "doctor"} {
		var out bytes.Buffer
		_ = Main(t.Context(), []string{command, "-o", "json"}, Streams{Out: &out, Err: &bytes.Buffer{}}, deps)
		if want := "qemu:///system with lan"; !bytes.Contains(out.Bytes(), []byte(want)) {
			t.Errorf("%s: got %s, want it to tell of %q", command, out.String(), want)
		}
	}
}

// --driver cuts the report, and not what the host is asked about.
func TestDoctorOfOneDriver(t *testing.T) {
	t.Parallel()
	deps := testDeps(t)
	first, second := fake.New(fake.Options{Name: "first"}), fake.New(fake.Options{Name: "second"})
	deps.AllDrivers = func(store.Home) (auto, named []drivers.Driver) {
		return []drivers.Driver{first}, []drivers.Driver{second}
	}
	deps.Drivers = func(context.Context, store.Home) func(string) (drivers.Driver, error) {
		return func(string) (drivers.Driver, error) { return second, nil } // by its alias
	}
	a := testApp(t)
	a.deps = deps
	if err := a.prepare(a.doctor()); err != nil {
		t.Fatal(err)
	}
	subject, err := a.subject("2nd")
	if err != nil || subject.Only != "second" || len(subject.Drivers) != 1 || len(subject.Named) != 1 {
		t.Errorf("got %q of %v and %v (%v), want second of all", subject.Only, subject.Drivers, subject.Named, err)
	}
}

// The page that a report names for a driver is there.
func TestEveryDriverHasAPage(t *testing.T) {
	t.Parallel()
	for _, driver := range append(builtin.All(builtin.Options{}), builtin.Named(builtin.Options{})...) {
		page := doctor.Summarize(driver.Name(), nil).Doc
		if _, err := os.Stat(filepath.Join("..", "..", "..", "site", "content", filepath.FromSlash(page)+".md")); err != nil {
			t.Errorf("%s: got %q, want a page: %v", driver.Name(), page, err)
		}
	}
}

func TestDriversList(t *testing.T) {
	t.Parallel()
	deps := testDeps(t)
	deps.AllDrivers = func(store.Home) (auto, named []drivers.Driver) {
		auto = []drivers.Driver{
			fake.New(fake.Options{Name: "first", Findings: []drivers.Finding{{Name: "program", Level: drivers.Failure, Text: "The program x is not there.", Remedy: "sudo apt-get install x"}}}),
			fake.New(fake.Options{Name: "second", Findings: []drivers.Finding{{Name: "speed", Level: drivers.Warning, Text: "Guests are emulated."}}}),
			fake.New(fake.Options{Name: "third"}),
		}
		return auto, []drivers.Driver{fake.New(fake.Options{Name: "fourth"})}
	}
	for format, file := range map[string]string{"table": "list.golden", "json": "list.json", "yaml": "list.yaml"} {
		var out, said bytes.Buffer
		if code := Main(t.Context(), []string{"drivers", "-o", format}, Streams{Out: &out, Err: &said}, deps); code != 0 || said.Len() > 0 {
			t.Errorf("drivers -o %s: got exit code %d and %q, want 0 and nothing", format, code, said.String())
		}
		golden.Compare(t, filepath.Join("testdata", "drivers", file), out.Bytes())
	}
}

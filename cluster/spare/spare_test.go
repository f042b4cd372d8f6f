package spare_test

import (
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/cluster/spare"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/internal/host"
)

func plain() config.Cluster {
	return config.Cluster{
		Profile: "spare-1", Driver: "qemu", CPUs: 2, MemoryMiB: 2048, DiskBytes: 20 << 30, KubernetesVersion: "v1.37.2", Image: "sha256:1",
	}
}

func TestServes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		spare, wanted func(*config.Cluster)
		want          bool
	}{
		{name: "the same", want: true},
		{name: "name, address and age are the cluster's own", wanted: func(c *config.Cluster) { c.Profile, c.Created, c.Offline = "dev", time.Now(), true }, want: true},
		{name: "an addon more is wanted", wanted: func(c *config.Cluster) { c.Addons = []string{"ingress"} }, want: true},
		{name: "an addon that is not wanted", spare: func(c *config.Cluster) { c.Addons = []string{"ingress"} }},
		{name: "another driver", wanted: func(c *config.Cluster) { c.Driver = "libvirt" }},
		{name: "another libvirt", wanted: func(c *config.Cluster) { c.LibvirtURI = "qemu:///system" }},
		{name: "another network", wanted: func(c *config.Cluster) { c.Network = "default" }},
		{name: "more processors", wanted: func(c *config.Cluster) { c.CPUs++ }},
		{name: "less memory", wanted: func(c *config.Cluster) { c.MemoryMiB-- }},
		{name: "a larger disk", wanted: func(c *config.Cluster) { c.DiskBytes++ }},
		{name: "another Kubernetes", wanted: func(c *config.Cluster) { c.KubernetesVersion = "v1.38.0" }},
		{name: "another image", wanted: func(c *config.Cluster) { c.Image = "sha256:2" }},
		{name: "another name in the certificate", wanted: func(c *config.Cluster) { c.APIServerNames = []string{"a.example"} }},
		{name: "another address in the certificate", spare: func(c *config.Cluster) { c.APIServerIPs = []string{"192.0.2.1"} }},
		{name: "another setting", wanted: func(c *config.Cluster) { c.ExtraConfig = []string{"apiserver.v=4"} }},
		{name: "another feature", spare: func(c *config.Cluster) { c.FeatureGates = []string{"A=true"} }},
		{name: "a machine that exists", wanted: func(c *config.Cluster) { c.SSH = &config.SSH{} }},
	}
	for _, test := range tests {
		one, other := plain(), plain()
		if test.spare != nil {
			test.spare(&one)
		}
		if test.wanted != nil {
			test.wanted(&other)
		}
		if got := spare.Serves(one, other); got != test.want {
			t.Errorf("%s: got %t, want %t", test.name, got, test.want)
		}
	}
}

func TestStale(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	note := spare.Note{Skiff: "v1", Created: now.Add(-time.Hour)}
	aged := func(days int, asked bool) spare.Note {
		return spare.Note{Skiff: "v1", Created: now.Add(-time.Duration(days)*24*time.Hour - time.Hour), Asked: asked}
	}
	tests := []struct {
		name string
		note spare.Note
		now  spare.Now
		want string
	}{
		{"fresh", note, spare.Now{Skiff: "v1", Image: "sha256:1", Time: now}, ""},
		{"nobody knows the image", note, spare.Now{Skiff: "v1", Time: now}, ""},
		{"another skiff", note, spare.Now{Skiff: "v2", Image: "sha256:1", Time: now}, "skiff is v2 and was v1"},
		{"another image", note, spare.Now{Skiff: "v1", Image: "sha256:2", Time: now}, "newer guest image"},
		{"six days", aged(6, false), spare.Now{Skiff: "v1", Image: "sha256:1", Time: now}, ""},
		{"seven days", aged(7, false), spare.Now{Skiff: "v1", Image: "sha256:1", Time: now}, "older than 7 days"},
		{"seven days, asked for", aged(7, true), spare.Now{Skiff: "v1", Image: "sha256:1", Time: now}, ""},
		{"ninety days, asked for", aged(90, true), spare.Now{Skiff: "v1", Image: "sha256:1", Time: now}, "older than 90 days"},
	}
	for _, test := range tests {
		if got := test.note.Stale(plain(), test.now); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestNote(t *testing.T) {
	t.Parallel()
	want := spare.Note{Skiff: "v1", Created: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), Asked: true}
	content, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := spare.Parse(content); err != nil || got != want {
		t.Errorf("Parse of what Marshal gave: got %+v and error %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "{}", "null", `{"skiff":"v1"}`, string(content[:len(content)/2])} {
		if got, err := spare.Parse([]byte(bad)); err == nil {
			t.Errorf("Parse of %q: got %+v and no error", bad, got)
		}
	}
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	good := spare.Moment{
		When: spare.Auto, Able: true, MemoryMiB: 2048, Facts: host.Facts{MemoryMiB: 16384, AvailableMiB: 8192}, FreeBytes: 100 << 30,
	}
	tests := []struct {
		name   string
		change func(*spare.Moment)
		want   string
	}{
		{"a good one", func(*spare.Moment) {}, ""},
		{"switched off", func(m *spare.Moment) { m.When = spare.Never }, "warm-spare is false"},
		{"another driver", func(m *spare.Moment) { m.Able = false }, "driver"},
		{"one is there", func(m *spare.Moment) { m.There = true }, "already"},
		{"emulation", func(m *spare.Moment) { m.Emulated = true }, "emulation"},
		{"emulation, and told so", func(m *spare.Moment) { m.Emulated, m.When = true, spare.Always }, ""},
		{"battery", func(m *spare.Moment) { m.Facts.OnBattery = true }, "battery"},
		{"battery, and told to always", func(m *spare.Moment) { m.Facts.OnBattery, m.When = true, spare.Always }, "battery"},
		{"unknown memory", func(m *spare.Moment) { m.Facts.AvailableMiB = 0 }, "does not say"},
		{"just enough memory", func(m *spare.Moment) { m.Facts.AvailableMiB = 2048 + 2048 }, ""},
		{"too little memory", func(m *spare.Moment) { m.Facts.AvailableMiB = 2048 + 2047 }, "4095 MiB of memory are free, and 2048 must stay"},
		{"just enough disk", func(m *spare.Moment) { m.FreeBytes = 14 << 30 }, ""},
		{"too little disk", func(m *spare.Moment) { m.FreeBytes = 14<<30 - 1 }, "13 GiB of the disk are free, and 10 must stay"},
	}
	for _, test := range tests {
		moment := good
		test.change(&moment)
		if got := moment.Refusal(); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestParseWhen(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"auto", "true", "false"} {
		if got, err := spare.ParseWhen(good); err != nil || string(got) != good {
			t.Errorf("ParseWhen(%q): got %q and error %v", good, got, err)
		}
	}
	for _, bad := range []string{"", "yes", "True"} {
		if _, err := spare.ParseWhen(bad); err == nil {
			t.Errorf("ParseWhen(%q): got no error", bad)
		}
	}
}

package config_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
)

func example() config.Cluster {
	return config.Cluster{
		Profile: "dev", Driver: "qemu", CPUs: 2, MemoryMiB: 2048, DiskBytes: 20 << 30, KubernetesVersion: "v1.37.2", Image: "abc",
		Network: "lan", NetworkAddress: netip.MustParsePrefix("192.168.150.254/24"),
		Address: netip.MustParseAddr("127.77.3.1"), APIServerNames: []string{"x.test"}, Addons: []string{"ingress"}, Offline: true, AutoPause: config.Duration(30 * time.Minute), CertExpiration: config.Duration(8760 * time.Hour),
		HostAccess: config.HostAccess{Ports: []uint16{5432, 8080}}, InsecureRegistries: []string{"registry.lan:5000", "10.1.0.0/16"},
		Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Provisioned: true,
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	content, err := example().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Parse(content)
	if err != nil {
		t.Fatalf("Parse: %v\n%s", err, content)
	}
	want := example()
	want.APIVersion, want.Kind = config.APIVersion, config.Kind
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("Parse of Marshal (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	content, err := example().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	good := string(content)
	for name, text := range map[string]string{
		"nothing":          "",
		"no YAML":          "a: [",
		"another kind":     strings.Replace(good, "kind: Cluster", "kind: Pod", 1),
		"another version":  strings.Replace(good, config.APIVersion, "skiff.dev/v9", 1),
		"an unknown field": good + "colour: red\n",
		"a field twice":    good + "cpus: 3\n",
		"another type":     strings.Replace(good, "cpus: 2", "cpus: many", 1),
		"a public address": strings.Replace(good, "127.77.3.1", "192.0.2.1", 1),
		"no address":       strings.Replace(good, "address: 127.77.3.1\n", "", 1),
		"no such port":     strings.Replace(good, "hostAccess: 5432,8080", "hostAccess: 5432,80800", 1),
		"no image":         strings.Replace(good, "image: abc\n", "", 1),
		"no memory":        strings.Replace(good, "memoryMiB: 2048", "memoryMiB: 0", 1),
		"a bad profile":    strings.Replace(good, "profile: dev", "profile: ../dev", 1),
	} {
		if text == good {
			t.Fatalf("%s: the example does not have what is to be replaced:\n%s", name, good)
		}
		if _, err := config.Parse([]byte(text)); !fail.Is(err, fail.StateCorrupt) {
			t.Errorf("Parse of %s: got error %v, want %s", name, err, fail.StateCorrupt)
		}
	}
}

func FuzzParse(f *testing.F) {
	content, err := example().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add([]byte("kind: Cluster"))
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := config.Parse(content)
		if err != nil {
			if !fail.Is(err, fail.StateCorrupt) {
				t.Errorf("got error %v, want %s", err, fail.StateCorrupt)
			}
			return
		}
		if config.ValidateProfile(c.Profile) != nil || !c.Address.IsLoopback() {
			t.Errorf("got %+v, which cannot be a cluster", c)
		}
	})
}

func TestValidateProfile(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{
		"skiff": true, "a": true, "a-1": true, "0": true, strings.Repeat("a", 63): true,
		"": false, ".": false, "..": false, "a/b": false, "A": false, "a b": false, "-a": false, "a-": false, "a.b": false, "a_b": false,
		"ä": false, "a\n": false, strings.Repeat("a", 64): false, strings.Repeat("a", 300): false,
	} {
		err := config.ValidateProfile(name)
		if (err == nil) != good || (err != nil && !fail.Is(err, fail.ProfileInvalid)) {
			t.Errorf("ValidateProfile(%q): got error %v, want good: %v", name, err, good)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("ValidateProfile(%.10q…): the message has %d characters", name, len(err.Error()))
		}
	}
}

func TestAmounts(t *testing.T) {
	t.Parallel()
	facts := host.Facts{CPUs: 4, MemoryMiB: 16384}
	memory := func(text string) (int64, error) { mib, err := config.Memory(text, facts); return int64(mib), err }
	cpus := func(text string) (int64, error) { n, err := config.CPUs(text, facts); return int64(n), err }
	const refused = -1
	tests := []struct {
		name string
		read func(string) (int64, error)
		text string
		want int64
	}{
		{"memory", memory, "4096", 4096}, {"memory", memory, "4g", 4096}, {"memory", memory, "4GiB", 4096}, {"memory", memory, "4096m", 4096},
		{"memory", memory, "4096MB", 4096}, {"memory", memory, "1.5g", 1536}, {"memory", memory, " 2g ", 2048}, {"memory", memory, "max", 16384 - 2048},
		{"memory", memory, "1t", 1 << 20}, {"memory", memory, "2097152k", 2048}, {"memory", memory, "2147483648b", 2048},
		{"memory", memory, "banana", refused}, {"memory", memory, "", refused}, {"memory", memory, "-1", refused}, {"memory", memory, "4x", refused},
		{"memory", memory, "4 g", refused}, {"memory", memory, "1e30", refused}, {"memory", memory, "NaN", refused}, {"memory", memory, "inf", refused},
		{"memory", memory, "0x10", refused}, {"memory", memory, "4g4", refused}, {"memory", memory, "9999999999t", refused},
		{"disk", config.Disk, "20g", 20 << 30}, {"disk", config.Disk, "40960", 40 << 30}, {"disk", config.Disk, "40960m", 40 << 30}, {"disk", config.Disk, "1t", 1 << 40},
		{"disk", config.Disk, "19g", refused}, {"disk", config.Disk, "big", refused},
		{"cpus", cpus, "2", 2}, {"cpus", cpus, "max", 4}, {"cpus", cpus, "MAX", 4}, {"cpus", cpus, "two", refused}, {"cpus", cpus, "1.5", refused}, {"cpus", cpus, "", refused},
	}
	for _, test := range tests {
		got, err := test.read(test.text)
		if test.want == refused {
			if !fail.Is(err, fail.FlagInvalid) {
				t.Errorf("%s %q: got %d and error %v, want %s", test.name, test.text, got, err, fail.FlagInvalid)
			}
			continue
		}
		if err != nil || got != test.want {
			t.Errorf("%s %q: got %d and error %v, want %d", test.name, test.text, got, err, test.want)
		}
	}
	if _, err := config.Memory("max", host.Facts{}); !fail.Is(err, fail.FlagInvalid) {
		t.Errorf("memory max on a host of unknown size: got error %v, want %s", err, fail.FlagInvalid)
	}
}

func TestDefaultMemory(t *testing.T) {
	t.Parallel()
	for has, want := range map[int]int{0: 2048, 4096: 2048, 16384: 4096, 24576: 6144, 65536: 6144} {
		if got := config.DefaultMemoryMiB(host.Facts{MemoryMiB: has}); got != want {
			t.Errorf("DefaultMemoryMiB of a host with %d: got %d, want %d", has, got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	facts := host.Facts{CPUs: 4, MemoryMiB: 8192}
	tests := []struct {
		name   string
		change func(*config.Cluster)
		facts  host.Facts
		force  bool
		want   []fail.ID
	}{
		{name: "good", change: func(*config.Cluster) {}},
		{name: "all wrong", change: func(c *config.Cluster) { c.Profile, c.MemoryMiB, c.CPUs, c.DiskBytes = "..", 64, 1, 1 }, want: []fail.ID{fail.ProfileInvalid, fail.MemoryTooSmall, fail.CPUsTooFew, fail.FlagInvalid}},
		{name: "too much", change: func(c *config.Cluster) { c.MemoryMiB, c.CPUs = 7169, 5 }, want: []fail.ID{fail.HostMemoryLow, fail.HostCPUsLow}},
		{name: "the most", change: func(c *config.Cluster) { c.MemoryMiB, c.CPUs = 7168, 4 }},
		{name: "the least", change: func(c *config.Cluster) { c.MemoryMiB, c.CPUs = 1536, 2 }},
		{name: "too much by force", change: func(c *config.Cluster) { c.MemoryMiB, c.CPUs = 1<<20, 99 }, force: true},
		{name: "too little by force", change: func(c *config.Cluster) { c.MemoryMiB = 64 }, force: true, want: []fail.ID{fail.MemoryTooSmall}},
		{name: "a host of unknown size", change: func(c *config.Cluster) { c.MemoryMiB = 1 << 20 }, facts: host.Facts{CPUs: 2}},
	}
	for _, test := range tests {
		c := example()
		test.change(&c)
		if test.facts.CPUs == 0 {
			test.facts = facts
		}
		err := config.Validate(c, test.facts, test.force)
		var got []fail.ID
		for _, one := range leaves(err) {
			for _, kind := range fail.Table() {
				if fail.Is(one, kind.ID) {
					got = append(got, kind.ID)
				}
			}
		}
		if !cmp.Equal(got, test.want) {
			t.Errorf("%s: got %v (%v), want %v", test.name, got, err, test.want)
		}
	}
}

// leaves takes joined errors apart.
func leaves(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, one := range many.Unwrap() {
			all = append(all, leaves(one)...)
		}
		return all
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

func TestAutoPause(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"": 0, "off": 0, "0": 0, "false": 0, "30m": 30 * time.Minute, "1m": time.Minute, "1h30m": 90 * time.Minute,
	} {
		if got, err := config.AutoPause(text); err != nil || got != want {
			t.Errorf("%q: got %s and error %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"30", "soon", "59s", "-1h"} {
		if got, err := config.AutoPause(text); !fail.Is(err, fail.FlagInvalid) || got != 0 {
			t.Errorf("%q: got %s and error %v, want %s", text, got, err, fail.FlagInvalid)
		}
	}
}

func TestCertExpiration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"26280h": config.DefaultCertExpiration, "1440h": config.MinCertExpiration, "8760h0m": 8760 * time.Hour, "87600h": config.MaxCertExpiration,
	} {
		if got, err := config.CertExpiration(text); err != nil || got != want {
			t.Errorf("%q: got %s and error %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "365d", "1439h", "-8760h", "87601h", "8760"} {
		if got, err := config.CertExpiration(text); !fail.Is(err, fail.FlagInvalid) || got != 0 {
			t.Errorf("%q: got %s and error %v, want %s", text, got, err, fail.FlagInvalid)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"0s": 0, "30m": 30 * time.Minute, "2h": 2 * time.Hour, "1h30m": 90 * time.Minute, "1m30s": 90 * time.Second, "10m": 10 * time.Minute, "100ms": 100 * time.Millisecond,
	} {
		if got := config.Duration(d).String(); got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
		var back config.Duration
		if err := back.UnmarshalText([]byte(want)); err != nil || back.Duration() != d {
			t.Errorf("%q: got %s and error %v, want %s", want, back, err, d)
		}
	}
}

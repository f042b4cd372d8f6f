package seed_test

import (
	"bytes"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"

	"github.com/skiff-k8s/skiff/drivers/seed"
	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/machine"
)

// The keys are made for these tests and open nothing.
func testSpec(t *testing.T) machine.Spec {
	t.Helper()
	return machine.Spec{
		Cluster: "dev", Name: "skiff",
		Network: machine.Network{
			Address: netip.MustParsePrefix("192.168.127.2/24"),
			Gateway: netip.MustParseAddr("192.168.127.1"),
		},
		Identity: machine.Identity{HostKey: read(t, "testdata/host_ed25519"), AuthorizedKey: read(t, "testdata/user_ed25519.pub")},
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestScript(t *testing.T) {
	t.Parallel()
	script, err := seed.Script(testSpec(t))
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "testdata/user-data.golden", script)
	check := exec.CommandContext(t.Context(), "sh", "-n")
	check.Stdin = bytes.NewReader(script)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("a shell does not understand the script: %v\n%s", err, out)
	}
}

func TestScriptOfTwoCards(t *testing.T) {
	t.Parallel()
	spec := testSpec(t)
	spec.Network.Joined = netip.MustParsePrefix("192.168.150.254/24")
	script, err := seed.Script(spec)
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "testdata/joined.golden", script)
}

func TestScriptRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*machine.Spec)
		want   string
	}{
		"host name with a quote":   {func(s *machine.Spec) { s.Name = "a'; reboot; '" }, "host name"},
		"host name with a line":    {func(s *machine.Spec) { s.Name = "a\nEND" }, "host name"},
		"no host name":             {func(s *machine.Spec) { s.Name = "" }, "host name"},
		"cluster name with a line": {func(s *machine.Spec) { s.Cluster = "a\nreboot" }, "cluster name"},
		"no address":               {func(s *machine.Spec) { s.Network.Address = netip.Prefix{} }, "not both addresses"},
		"no gateway":               {func(s *machine.Spec) { s.Network.Gateway = netip.Addr{} }, "not both addresses"},
		"gateway with a zone":      {func(s *machine.Spec) { s.Network.Gateway = netip.MustParseAddr("fe80::1%a b") }, "not both addresses"},
		"no host key":              {func(s *machine.Spec) { s.Identity.HostKey = nil }, "SSH host key"},
		"no user key":              {func(s *machine.Spec) { s.Identity.AuthorizedKey = nil }, "user's SSH key"},
		"user key that runs a thing": {func(s *machine.Spec) {
			s.Identity.AuthorizedKey = append([]byte(`command="reboot" `), s.Identity.AuthorizedKey...)
		}, "without options"},
		"two user keys": {func(s *machine.Spec) {
			s.Identity.AuthorizedKey = append(bytes.Clone(s.Identity.AuthorizedKey), s.Identity.AuthorizedKey...)
		}, "more than one key"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := testSpec(t)
			test.change(&spec)
			if _, err := seed.Script(spec); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Script gave error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "seed.iso")
	spec := testSpec(t)
	if err := seed.Write(t.Context(), path, spec); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || info.Size() > 128<<10 {
		t.Errorf("got %+v (%v), want mode 0600 and less than 128 KiB", info, err)
	}
	image, err := file.OpenFromPath(path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = image.Close() }()
	system, err := iso9660.Read(image, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(system.Label()); got != "cidata" {
		t.Errorf("got label %q, want cidata", got)
	}
	script, err := seed.Script(spec)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"meta-data": "instance-id: dev-skiff\nlocal-hostname: skiff\n",
		"user-data": string(script),
	} {
		f, err := system.OpenFile(name, os.O_RDONLY)
		if err != nil {
			t.Errorf("open %s: %v", name, err)
			continue
		}
		if got, err := io.ReadAll(f); err != nil || string(got) != want {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, want)
		}
	}
}

func TestWriteIsDeterministic(t *testing.T) {
	t.Parallel()
	spec := testSpec(t)
	var images [2][]byte
	for i := range images {
		path := filepath.Join(t.TempDir(), "seed.iso")
		if err := seed.Write(t.Context(), path, spec); err != nil {
			t.Fatal(err)
		}
		images[i] = read(t, path)
		// Dates have a resolution of one second, and files made in the same second would hide a forgotten one.
		if bytes.Contains(images[i], []byte{'T', 'F', 26, 1, 0x0e}) && !bytes.Contains(images[i], []byte{'T', 'F', 26, 1, 0x0e, 100, 1, 1, 0, 0, 0, 0, 100, 1, 1}) {
			t.Error("Rock Ridge dates were not set")
		}
		if year := []byte("202"); bytes.Contains(images[i][16*2048+813:16*2048+881], year) {
			t.Errorf("volume dates hold %q, want the year 2000", year)
		}
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("two images of the same machine differ")
	}
}

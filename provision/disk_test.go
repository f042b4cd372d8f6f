package provision

import (
	"slices"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
)

func TestGrowFileSystem(t *testing.T) {
	t.Parallel()
	guest := fake.NewRunner(t.TempDir(), fake.Responses{{Prefix: []string{"resize2fs"}, Times: 1}, {Prefix: []string{"resize2fs"}, Stderr: "no space", ExitCode: 1}})
	if err := GrowFileSystem(t.Context(), guest, "dev"); err != nil {
		t.Error(err)
	}
	commands, err := guest.Commands()
	if err != nil || len(commands) != 1 || !slices.Equal(commands[0], []string{"resize2fs", "/dev/vda"}) {
		t.Errorf("got the commands %q (%v), want resize2fs of the disk", commands, err)
	}
	if err := GrowFileSystem(t.Context(), guest, "dev"); !fail.Is(err, fail.ProvisionFailed) || !strings.Contains(err.Error(), "file system") {
		t.Errorf("got error %v, want %s", err, fail.ProvisionFailed)
	}
}

func TestDiskSpace(t *testing.T) {
	t.Parallel()
	for output, want := range map[string][2]int64{
		"      Avail   1B-blocks\n  123456789 21002579968\n": {123456789, 21002579968},
		"Avail\n": {},
		"":        {},
	} {
		guest := fake.NewRunner(t.TempDir(), fake.Responses{{Prefix: []string{"df"}, Stdout: output}})
		free, size, err := DiskSpace(t.Context(), guest)
		if free != want[0] || size != want[1] || (err == nil) != (size > 0) {
			t.Errorf("%q: got %d of %d bytes and error %v, want %v", output, free, size, err, want)
		}
	}
}

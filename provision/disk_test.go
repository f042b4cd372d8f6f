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

package processes_test

import (
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/skiff-k8s/skiff/internal/processes"
)

func TestList(t *testing.T) {
	t.Parallel()
	child := exec.CommandContext(t.Context(), "sleep", "600.25")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	id := child.Process.Pid
	all, err := processes.List(t.Context())
	if err != nil || !slices.Contains(all[id], "600.25") || all[os.Getpid()] == nil {
		t.Errorf("List: got %q for a child (%v), want its arguments", all[id], err)
	}
	words, err := processes.Arguments(id)
	if err != nil || len(words) < 2 || words[1] != "600.25" {
		t.Errorf("Arguments of a child: got %q (%v), want sleep 600.25", words, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if words, err := processes.Arguments(id); err == nil && slices.Contains(words, "600.25") {
		t.Errorf("Arguments of a child that has ended: got %q", words)
	}
}

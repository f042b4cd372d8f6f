package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/cluster"
)

// TestDescriptions: a snapshot's description cannot steer the terminal of who lists it, be it new or from before.
func TestDescriptions(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a\x1b[2J", "two\nlines", "a\tb"} {
		var said bytes.Buffer
		code := Main(t.Context(), []string{"snapshot", "save", "--description", text}, Streams{Out: &bytes.Buffer{}, Err: &said}, testDeps(t))
		if code != 2 || !strings.Contains(said.String(), "control characters") {
			t.Errorf("--description %q: got code %d and %q, want 2", text, code, said.String())
		}
	}
	var out bytes.Buffer
	err := writeSnapshots(&out, []cluster.Snapshot{{Name: "a", Created: time.Now(), Description: "x\x1b[2J\ny"}})
	if err != nil || !strings.HasSuffix(out.String(), `x\x1b[2J\ny`+"\n") {
		t.Errorf("list: got error %v and %q, want the description escaped", err, out.String())
	}
}

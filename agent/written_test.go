package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/store"
)

// TestConfigurationOf79092b1 reads what commit 79092b1 wrote, and names the version that wrote a field that is unknown.
func TestConfigurationOf79092b1(t *testing.T) {
	t.Parallel()
	c, err := agent.Load("testdata/79092b1/agent.json")
	if err != nil || c.Profile != "dev" || c.AutoPause != 30*time.Minute || len(c.Ports) != 2 {
		t.Errorf("got %+v and %v", c, err)
	}
	content, err := os.ReadFile("testdata/79092b1/agent.json")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "agent.json")
	if err := os.WriteFile(path, []byte(strings.Replace(string(content), "{", `{"skiff": "v9", "colour": 1,`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = agent.Load(path)
	if other, ok := errors.AsType[*store.OtherError](err); !ok || other.By != "v9" {
		t.Errorf("a field of v9: got error %v, want one that names the version", err)
	}
}

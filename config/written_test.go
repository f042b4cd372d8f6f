package config_test

import (
	"os"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/config"
)

// TestFilesOf79092b1 reads cluster files that commit 79092b1 wrote, with every field that it had.
func TestFilesOf79092b1(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cluster.yaml", "cluster-ssh.yaml"} {
		content, err := os.ReadFile("testdata/79092b1/" + name)
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse(content)
		if err != nil || c.MemoryMiB != 2048 || c.AutoPause.Duration() != 30*time.Minute || (c.SSH != nil) != (name == "cluster-ssh.yaml") {
			t.Errorf("%s: got %+v and %v", name, c, err)
		}
	}
}

package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
)

func TestCorrected(t *testing.T) {
	t.Parallel()
	tests := []struct{ args, flag, instead, want string }{
		{"start --memory 64 -p dev", "memory", "4096", "start --memory 4096 -p dev"},
		{"start --memory=64 -p dev", "memory", "4096", "start --memory 4096 -p dev"},
		{"start -m 64 -p dev", "memory", "4096", "start --memory 4096 -p dev"},
		{"start -m64 -p dev", "memory", "4096", "start --memory 4096 -p dev"},
		{"start -qm 64 -p dev", "memory", "4096", "start --memory 4096 -p dev"},
		{"start --memory 64 --memory 65", "memory", "4096", "start --memory 4096"},
		{"start -p dev", "memory", "4096", "start -p dev --memory 4096"},
		{"start --cpus memory --memory 64", "memory", "", "start --cpus memory"},
		{"start -v --disk-size 30g --offline", "disk-size", "", "start -v --offline"},
		{"start --vm-driver qemu -p dev", "driver", "", "start -p dev"},
		{"start --ssh-ip-address 192.0.2.7 --ssh-user me --ssh-key k", "ssh-ip-address", "", "start --ssh-key k"},
		{"start -- --memory 64", "memory", "4096", "start --memory 4096 -- --memory 64"},
	}
	for _, test := range tests {
		a := testApp(t)
		cmd, _, err := a.root().Find([]string{"start"})
		if err != nil {
			t.Fatal(err)
		}
		cmd.InheritedFlags() // adds those of every command
		got := strings.Join(corrected(strings.Fields(test.args), cmd.Flags(), correction{test.flag, test.instead}), " ")
		if got != test.want {
			t.Errorf("%s with --%s %q: got %q, want %q", test.args, test.flag, test.instead, got, test.want)
		}
	}
}

// TestInterrupted: the same command is one that has all its flags, for a shell.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	a := testApp(t)
	a.args = []string{"start", "-p", "dev", "--memory", "4g", "--extra-config", "apiserver.x=a b"}
	err := fmt.Errorf("start: %w", fail.New(fail.Interrupted, "start cluster dev", "told to").WithNext("skiff start -p dev"))
	a.explain(a.root(), errors.Join(err))
	failure, _ := errors.AsType[*fail.Error](err)
	if want := "skiff start -p dev --memory 4g --extra-config 'apiserver.x=a b'"; failure.Next != want {
		t.Errorf("next: got %q, want %q", failure.Next, want)
	}
}

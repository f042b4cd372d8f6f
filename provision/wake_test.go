package provision

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// sleeper is a machine that was woken: it has the certificates with that fingerprint.
type sleeper struct {
	has  string
	err  error
	seed []byte
	args []string
}

func (s *sleeper) Run(_ context.Context, cmd machine.Cmd) (machine.Result, error) {
	s.args = cmd.Args
	var err error
	if s.seed, err = io.ReadAll(cmd.Stdin); err != nil {
		return machine.Result{}, err
	}
	fmt.Fprintln(cmd.Stdout, s.has)
	return machine.Result{}, s.err
}

func (*sleeper) Put(context.Context, string, fs.FileMode, io.Reader) error { return nil }

func TestWake(t *testing.T) {
	t.Parallel()
	config, dir, now := testConfig(), t.TempDir(), time.Now()
	pki := mustPKI(t, dir, config, now)
	for _, test := range []struct {
		name  string
		has   string
		pki   *PKI
		stale bool
	}{
		{"the same certificates", pki.Fingerprint(), pki, false},
		{"the same, read again", pki.Fingerprint(), mustPKI(t, dir, config, now), false},
		{"none known", "", pki, true},
		// Renewed on the host by an earlier call, which did not get as far as pushing them.
		{"older ones", pki.Fingerprint(), mustPKI(t, dir, config, now.Add(config.CertificateLife)), true},
	} {
		guest := &sleeper{has: test.has}
		stale, err := Wake(t.Context(), guest, config, test.pki)
		if err != nil || stale != test.stale {
			t.Errorf("%s: got stale %v and error %v, want %v", test.name, stale, err, test.stale)
		}
		if len(guest.seed) != seedBytes || bytes.Equal(guest.seed, make([]byte, seedBytes)) || guest.args[4] != certificatesFile {
			t.Errorf("%s: got the seed %x and the arguments %q", test.name, guest.seed, guest.args)
		}
	}
	failing := &sleeper{err: &machine.RunError{Cmd: "sh", ExitCode: 1}}
	if _, err := Wake(t.Context(), failing, config, pki); !fail.Is(err, fail.ProvisionFailed) {
		t.Errorf("got error %v, want %s", err, fail.ProvisionFailed)
	}
}

// TestWakeScript runs what can be run of the script on any host: without a clock to set and the rights to do so, it still
// tells the fingerprint.
func TestWakeScript(t *testing.T) {
	t.Parallel()
	script := strings.NewReplacer("/sys/class/rtc/rtc0/since_epoch", filepath.Join(t.TempDir(), "none"), "/dev/urandom", "/dev/null", "/sys/fs/cgroup", t.TempDir()).Replace(wakeScript)
	file := filepath.Join(t.TempDir(), "certificates")
	for _, want := range []string{"", "abc"} {
		if want != "" {
			if err := exec.CommandContext(t.Context(), "sh", "-c", `echo "$1" >"$2"`, "sh", want, file).Run(); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", script, "sh", file)
		cmd.Stdin = strings.NewReader("seed")
		out, err := cmd.Output()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("got %q and error %v, want %q", out, err, want)
		}
	}
}

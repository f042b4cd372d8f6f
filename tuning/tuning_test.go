package tuning_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/tuning"
)

func TestPlans(t *testing.T) {
	t.Parallel()
	golden.Compare(t, "testdata/hardware.golden", []byte(tuning.Hardware().String()))
	golden.Compare(t, "testdata/emulation.golden", []byte(tuning.Emulation().String()))
}

// TestCmdline: hardware gets none of the words for emulation, also from an image of a version that wrote them into the image;
// emulation gets each of them once.
func TestCmdline(t *testing.T) {
	t.Parallel()
	const (
		image = "console=ttyS0 root=/dev/vda no_timer_check panic=10"
		older = "console=ttyS0 root=/dev/vda mitigations=off no_timer_check tsc=reliable highres=off rcupdate.rcu_expedited=1 panic=10"
	)
	for _, text := range []string{image, older} {
		if got := tuning.Hardware().Cmdline(text); got != image {
			t.Errorf("hardware: got %q of %q, want %q", got, text, image)
		}
		emulated := tuning.Emulation()
		want := image + " " + strings.Join(emulated.Kernel, " ")
		got := emulated.Cmdline(text)
		if got != want {
			t.Errorf("emulation: got %q of %q, want %q", got, text, want)
		}
		if !slices.Contains(strings.Fields(got), "tsc=reliable") {
			t.Errorf("emulation: got %q, want the processor's own clock", got)
		}
	}
}

package cluster

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
)

// recorder notes what steps do.
type recorder struct{ did []string }

// step does nothing but note, and fails with err; its undo fails with undoErr.
func (r *recorder) step(id string, err, undoErr error) Step {
	return Step{
		ID: id, Text: id, Why: "test",
		Do:   func(context.Context, Report) error { r.did = append(r.did, id); return err },
		Undo: func(context.Context) error { r.did = append(r.did, "-"+id); return undoErr },
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	bad := errors.New("bad")
	tests := []struct {
		name    string
		err     error // of the second of three steps
		undoErr error // of the first one's undo
		keep    bool
		did     string
		want    []string // parts of the error
	}{
		{name: "all well", did: "a b c"},
		{name: "fails", err: bad, did: "a b -b -a", want: []string{"cluster dev: b: bad"}},
		{name: "is kept", err: bad, keep: true, did: "a b", want: []string{"bad"}},
		{name: "undo fails too", err: bad, undoErr: errors.New("stuck"), did: "a b -b -a", want: []string{"bad", `take back "a": stuck`}},
		{name: "known", err: fail.New(fail.PortInUse, "op", "taken"), did: "a b -b -a", want: []string{"op: taken"}},
		{name: "full", err: syscall.ENOSPC, did: "a b -b -a", want: []string{"no space left"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{}
			plan := Plan{Profile: "dev", Steps: []Step{r.step("a", nil, test.undoErr), r.step("b", test.err, nil), r.step("c", nil, nil)}}
			err := Apply(t.Context(), plan, func(error) bool { return test.keep }, nil)
			if got := strings.Join(r.did, " "); got != test.did {
				t.Errorf("Apply did %q, want %q", got, test.did)
			}
			if (err != nil) != (len(test.want) > 0) {
				t.Fatalf("Apply: got error %v, want one with %q", err, test.want)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("Apply: got error %q, want %q in it", err, part)
				}
			}
			if test.name == "full" && !fail.Is(err, fail.HostDiskFull) {
				t.Errorf("Apply: got error %v, want %s", err, fail.HostDiskFull)
			}
		})
	}
}

// TestApplyInterrupted: Ctrl-C in a step must take back that step too, with a context that lives.
func TestApplyInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	r := &recorder{}
	hung := r.step("b", nil, nil)
	hung.Do = func(ctx context.Context, _ Report) error {
		cancel(errors.New("ctrl-c"))
		<-ctx.Done()
		return errors.New("something else that came of it")
	}
	hung.Undo = func(ctx context.Context) error {
		r.did = append(r.did, "-b")
		return ctx.Err()
	}
	var kinds []Kind
	err := Apply(ctx, Plan{Profile: "dev", Steps: []Step{r.step("a", nil, nil), hung, r.step("c", nil, nil)}},
		func(error) bool { return false }, func(e Event) { kinds = append(kinds, e.Kind) })
	if !fail.Is(err, fail.Interrupted) || !strings.Contains(err.Error(), "ctrl-c") {
		t.Errorf("Apply: got error %v, want %s with the cause", err, fail.Interrupted)
	}
	if got := strings.Join(r.did, " "); got != "a -b -a" {
		t.Errorf("Apply did %q, want %q", got, "a -b -a")
	}
	if want := []Kind{Began, Ended, Began, Failed, Undone, Undone}; !slices.Equal(kinds, want) {
		t.Errorf("events: got %v, want %v", kinds, want)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	address := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{127, 77, byte(n), 1}) }
	taken := func(ns ...int) map[netip.Addr]bool {
		m := map[netip.Addr]bool{}
		for _, n := range ns {
			m[address(n)] = true
		}
		return m
	}
	all := make([]int, 254)
	for i := range all {
		all[i] = i + 1
	}
	tests := []struct {
		name  string
		taken map[netip.Addr]bool
		free  func(netip.Addr) bool
		want  netip.Addr
	}{
		{"the first", nil, func(netip.Addr) bool { return true }, address(1)},
		{"a gap", taken(1, 3), func(netip.Addr) bool { return true }, address(2)},
		{"a busy one is left out", taken(1), func(a netip.Addr) bool { return a != address(2) }, address(3)},
		{"all busy", taken(1), func(netip.Addr) bool { return false }, address(2)},
		{"all taken", taken(all...), func(netip.Addr) bool { return true }, netip.Addr{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := choose(test.taken, test.free)
			if got != test.want || (err != nil) != !test.want.IsValid() {
				t.Errorf("choose: got %v and error %v, want %v", got, err, test.want)
			}
			if err != nil && !fail.Is(err, fail.PortInUse) {
				t.Errorf("choose: got error %v, want %s", err, fail.PortInUse)
			}
		})
	}
}

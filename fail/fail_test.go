package fail_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
)

func TestErrorText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err  *fail.Error
		want string
	}{
		{fail.New(fail.PortInUse, "start cluster dev", "port %d: %w", 6443, fs.ErrExist), "start cluster dev: port 6443: file already exists"},
		{&fail.Error{ID: fail.ClusterNotFound, Op: "no cluster dev"}, "no cluster dev"},
		{&fail.Error{ID: fail.Internal, Err: errors.New("why")}, "why"},
	}
	for _, test := range tests {
		if got := test.err.Error(); got != test.want {
			t.Errorf("Error(): got %q, want %q", got, test.want)
		}
	}
}

func TestIs(t *testing.T) {
	t.Parallel()
	inner := fail.New(fail.PortInUse, "publish", "address taken: %w", fs.ErrExist).
		WithNext("skiff stop %s", "dev").WithHint("End process %d.", 7).WithOutput("last line")
	wrapped := fmt.Errorf("start: %w", inner)

	if !fail.Is(wrapped, fail.PortInUse) {
		t.Errorf("Is(%v, %s): got false, want true", wrapped, fail.PortInUse)
	}
	if fail.Is(wrapped, fail.Internal) {
		t.Errorf("Is(%v, %s): got true, want false", wrapped, fail.Internal)
	}
	if fail.Is(nil, fail.Internal) || fail.Is(fs.ErrExist, fail.Internal) {
		t.Error("Is: got true for an error that is no fail.Error, want false")
	}
	if !errors.Is(wrapped, fs.ErrExist) {
		t.Errorf("errors.Is(%v, fs.ErrExist): got false, want true: the cause is lost", wrapped)
	}
	got := fail.Error{Next: inner.Next, Hint: inner.Hint, Output: inner.Output}
	want := fail.Error{Next: "skiff stop dev", Hint: "End process 7.", Output: "last line"}
	if got != want {
		t.Errorf("With…: got %+v, want %+v", got, want)
	}
}

package build

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestSmallest: what the program zstd makes is read again, the same each time, and one that is cancelled ends.
func TestSmallest(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("zstd"); err != nil {
		t.Skip("zstd is not here")
	}
	text := strings.Repeat("the same program in two places ", 1000)
	var first, second bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := Smallest(19)(t.Context(), out, strings.NewReader(text), int64(len(text))); err != nil {
			t.Fatal(err)
		}
	}
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	if got, err := decoder.DecodeAll(first.Bytes(), nil); err != nil || string(got) != text || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("got %d bytes, error %v, want the text, and the same bytes twice", len(got), err)
	}
	if err := Smallest(19)(t.Context(), &first, strings.NewReader(text), 1); err == nil {
		t.Error("more bytes than were promised: got no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Smallest(19)(ctx, &first, strings.NewReader(text), int64(len(text))); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want that it was cancelled", err)
	}
}

package manifest

import (
	"bytes"
	"testing"
)

// FuzzSplit holds that no byte is lost, whatever comes in.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{"", "---", "a: b\n---\n...\n", "{}{}", "{}\n---\n{}", bom + "--- x\r\n", bom + "{}", "%Y\n# c\n\n", "{\"a\":", "#"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		parts, err := split(in)
		if err != nil {
			return
		}
		var got []byte
		line := 1
		for _, part := range parts {
			if start := line + bytes.Count(part.marker, []byte("\n")); part.line != start {
				t.Errorf("got line %d for %q, want %d", part.line, part.raw(), start)
			}
			line += bytes.Count(part.raw(), []byte("\n"))
			lead, content, tail := part.trivia()
			if joined := append(append(bytes.Clone(lead), content...), tail...); !bytes.Equal(joined, part.body) {
				t.Errorf("got %q of %q", joined, part.body)
			}
			_, _ = part.object()
			got = append(got, part.raw()...)
		}
		if !bytes.Equal(got, in) {
			t.Errorf("got %q, want %q", got, in)
		}
	})
}

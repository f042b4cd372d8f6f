package spare

import (
	"os"
	"testing"
)

// TestNoteOf79092b1 reads the note of a warm spare that commit 79092b1 wrote.
func TestNoteOf79092b1(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("testdata/79092b1/spare.json")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := Parse(content); err != nil || n.Skiff != "v0.0.0-dev 79092b1" || !n.Asked || n.Created.IsZero() {
		t.Errorf("got %+v and %v", n, err)
	}
}

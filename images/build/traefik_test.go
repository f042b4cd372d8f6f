package build

import "testing"

// TestSourceIsHeldToGoSum: a copied module is the one of go.sum, or none.
func TestSourceIsHeldToGoSum(t *testing.T) {
	t.Parallel()
	sums := []byte("example.test/a v1.0.0 h1:x=\nexample.test/a v1.0.0/go.mod h1:y=\n")
	for module, test := range map[string]struct {
		sum  string
		good bool
	}{
		"example.test/a@v1.0.0": {"h1:x=", true},
		"example.test/a@v1.0.1": {"h1:x=", false},
		"example.test/b@v1.0.0": {"", false},
	} {
		if err := checkSum(sums, module, test.sum); (err == nil) != test.good {
			t.Errorf("%s: got error %v, want none: %v", module, err, test.good)
		}
	}
	if checkSum(sums, "example.test/a@v1.0.0", "h1:y=") == nil {
		t.Error("another hash: got no error")
	}
}

package download

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/skiff-k8s/skiff/fail"
)

func TestReference(t *testing.T) {
	t.Parallel()
	index := digest.FromString("an index")
	tests := []struct {
		text    string
		want    Reference
		network bool
		path    string // of a source on this computer
	}{
		{"https://images.example/skiff@" + index.String(), Reference{"https://images.example/skiff", index}, true, ""},
		{"https://user:" + secret + "@images.example/skiff@" + index.String(), Reference{"https://user:" + secret + "@images.example/skiff", index}, true, ""},
		{"https://images.example/skiff", Reference{"https://images.example/skiff", ""}, true, ""},
		{"http://127.0.0.1:8000", Reference{"http://127.0.0.1:8000", ""}, true, ""},
		{"oci://registry.example/skiff/images@" + index.String(), Reference{"oci://registry.example/skiff/images", index}, true, ""},
		{"file:///srv/image.tar@" + index.String(), Reference{"file:///srv/image.tar", index}, false, "/srv/image.tar"},
		{"file:/srv/image", Reference{"file:/srv/image", ""}, false, "/srv/image"},
		{"/srv/image", Reference{"/srv/image", ""}, false, "/srv/image"},
		{"image.tar", Reference{"image.tar", ""}, false, "image.tar"},
	}
	for _, test := range tests {
		got, err := ParseReference(test.text)
		if err != nil || got != test.want {
			t.Errorf("%s: got %+v and error %v, want %+v", test.text, got, err, test.want)
			continue
		}
		if got.Network() != test.network || !test.network && got.Path() != test.path {
			t.Errorf("%s: got network %t and path %q, want %t and %q", test.text, got.Network(), got.Path(), test.network, test.path)
		}
		if trusted := got.CheckTrust() == nil; trusted != (!test.network || test.want.Index != "") {
			t.Errorf("%s: got trusted %t", test.text, trusted)
		}
		if strings.Contains(got.String(), secret) {
			t.Errorf("%s: its text has the password", test.text)
		}
	}
	for _, text := range []string{"", "ftp://images.example", "https://", "oci://skiff", "https://images.example@sha256:123"} {
		if got, err := ParseReference(text); !fail.Is(err, fail.FlagInvalid) {
			t.Errorf("%q: got %+v and error %v, want %s", text, got, err, fail.FlagInvalid)
		}
	}
}

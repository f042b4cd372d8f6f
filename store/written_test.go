package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/store"
)

func TestFilesOfOtherVersions(t *testing.T) {
	t.Parallel()
	for text, test := range map[string]struct {
		err   string // a part of it; empty: none
		newer bool
	}{
		`{"cpus": 2}`:                           {},
		`{"skiff": "v9", "cpus": 2}`:            {},
		`{"skiff": "v9", "cpus": 2, "gpus": 1}`: {`written by skiff v9, this is v1: json: unknown field "gpus"`, true},
		`{"skiff": "v9", "cpus": "many"}`:       {"written by skiff v9, this is v1", true},
		`{"skiff": "v1", "cpus": 2, "gpus": 1}`: {`unknown field "gpus"`, false}, // somebody changed it
		`{"cpus": 2, "gpus": 1}`:                {`unknown field "gpus"`, false},
		`{"skiff": "v9", "cpus": 2`:             {"unexpected end", false},
		`{"skiff": "v0.9", "gpus": 1}`:          {`written by skiff v0.9: json: unknown field "gpus"`, false}, // an older one has no more fields
	} {
		var into struct {
			Skiff string `json:"skiff"`
			CPUs  int    `json:"cpus"`
		}
		err := store.RefuseOther("read it", "v1", store.ReadJSON([]byte(text), &into))
		if fail.Is(err, fail.StateNewer) != test.newer || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: got error %v, want %q and %s: %v", text, err, test.err, fail.StateNewer, test.newer)
		}
		if err == nil && into.CPUs != 2 {
			t.Errorf("%s: got %+v, want 2 CPUs", text, into)
		}
	}
	plain := errors.New("plain")
	if got := store.RefuseOther("x", "v1", plain); got != plain { //nolint:errorlint // the very same
		t.Errorf("Refuse of another error: got %v, want it as it is", got)
	}
	if got := store.RefuseOther("x", "v1", nil); got != nil {
		t.Errorf("Refuse of nil: got %v", got)
	}
}

// TestOlder: what an older release wrote and this version does not know was changed since. Of what is no release nothing is known.
func TestOlder(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		by, skiff string
		newer     bool
	}{
		{"v1.2.0 abc", "v1.3.0 def", false},
		{"v1.9.0 abc", "v1.10.0 def", false},
		{"v1.3.0-rc.1 abc", "v1.3.0 def", false},
		{"v1.2.0 abc", "v1.2.0-5-gdef0123 def", false},
		{"v1.2.0 abc", "v1.2.0-dirty abc", false},
		{"v1.3.0-rc.1 abc", "v1.3.0-rc.1-7-gdef0123-dirty def", false},
		{"v1.3.0 abc", "v1.2.0 def", true},
		{"v1.3.0 abc", "v1.3.0 def", true},
		{"v1.3.0 abc", "v1.3.0-rc.1 def", true},
		{"v1.2.0-5-gabc0123 abc", "v1.2.0 def", true},
		{"v1.2.0-5-gabc0123 abc", "v1.3.0 def", true},
		{"v1.2.0-dirty abc", "v1.3.0 def", true},
		{"v0.0.0-dev abc", "v0.0.0-dev def", true},
		{"v0.0.0-dev abc", "v1.3.0 def", true},
		{"v1.3.0 abc", "v0.0.0-dev def", true},
		{"banana", "v1.3.0 def", true},
		{"v1.3.0 abc", "banana", true},
	} {
		err := store.RefuseOther("read it", test.skiff, &store.OtherError{By: test.by, Err: errors.New("x")})
		if fail.Is(err, fail.StateNewer) != test.newer {
			t.Errorf("written by %q, this is %q: got %v, want %s: %t", test.by, test.skiff, err, fail.StateNewer, test.newer)
		}
	}
}

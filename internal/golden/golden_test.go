package golden

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		file    string // empty: there is none
		got     string
		rewrite bool
		want    string   // the file afterwards
		problem []string // parts of the error; none: no error
	}{
		{name: "same", file: "a\nb\n", got: "a\nb\n", want: "a\nb\n"},
		{name: "same but for line endings", file: "a\r\nb\r\n", got: "a\nb\n", want: "a\r\nb\r\n"},
		{name: "same the other way round", file: "a\nb\n", got: "a\r\nb\r\n", want: "a\nb\n"},
		{name: "different", file: "one\n", got: "two\n", want: "one\n", problem: []string{"-update", `-`, "one", "+", "two"}},
		{name: "absent", got: "new\n", problem: []string{"there is no", "-update", "new"}},
		{name: "update different", file: "one\n", got: "two\n", rewrite: true, want: "two\n"},
		{name: "update absent", got: "new\r\n", rewrite: true, want: "new\n"},
		{name: "update leaves the same alone", file: "a\r\n", got: "a\n", rewrite: true, want: "a\r\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "testdata", "x.golden")
			if test.file != "" {
				if err := write(path, []byte(test.file)); err != nil {
					t.Fatal(err)
				}
			}

			err := check(path, []byte(test.got), test.rewrite)
			if (err != nil) != (test.problem != nil) {
				t.Fatalf("check: got error %v, want one with %q", err, test.problem)
			}
			for _, part := range test.problem {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("check: got error %q, want it to contain %q", err, part)
				}
			}
			if content, _ := os.ReadFile(path); string(content) != test.want {
				t.Errorf("file afterwards: got %q, want %q", content, test.want)
			}
		})
	}
}

func TestCheckUnreadable(t *testing.T) {
	t.Parallel()
	// A folder in the file's place is not the same as no file: -update must not be advised, nor tried.
	err := check(t.TempDir(), []byte("x"), true)
	if err == nil || !strings.Contains(err.Error(), "read golden file") {
		t.Errorf("check: got error %v, want a failure to read", err)
	}
}

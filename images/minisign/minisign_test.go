package minisign_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/images/minisign"
)

// Files in testdata were made by Debian's minisign 0.11: key pairs by `minisign -G -W`, signatures by
// `minisign -S -W -m index.json -t "skiff guest images serial:7"`, the legacy one with -l.

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func key(t *testing.T, name string) minisign.PublicKey {
	t.Helper()
	key, err := minisign.ParsePublicKey(read(t, name+".pub"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestVerify(t *testing.T) {
	t.Parallel()
	index, signature := read(t, "index.json"), read(t, "current-7.minisig")
	lines := strings.SplitAfter(signature, "\n")
	tests := []struct {
		name, content, signature string
		want                     error
		comment                  string
	}{
		{"the current key", index, signature, nil, "skiff guest images serial:7"},
		{"the next key", index, read(t, "next-8.minisig"), nil, "skiff guest images serial:8"},
		{"lines of Windows", index, strings.ReplaceAll(signature, "\n", "\r\n"), nil, "skiff guest images serial:7"},
		{"the untrusted comment is another", index, "untrusted comment: x\n" + strings.Join(lines[1:], ""), nil, "skiff guest images serial:7"},
		{"a foreign key", index, read(t, "foreign-9.minisig"), minisign.ErrForeign, ""},
		{"a flipped bit", "z" + index[1:], signature, minisign.ErrSignature, ""},
		{"one byte more", index + " ", signature, minisign.ErrSignature, ""},
		{"nothing is signed", "", signature, minisign.ErrSignature, ""},
		{"a higher serial", index, strings.Replace(signature, "serial:7", "serial:9", 1), minisign.ErrSignature, ""},
		{"the comment of another signature", index, lines[0] + lines[1] + strings.Join(strings.SplitAfter(read(t, "next-8.minisig"), "\n")[2:], ""), minisign.ErrSignature, ""},
		{"over the file itself", index, read(t, "legacy-7.minisig"), minisign.ErrFormat, ""},
		{"no signature", index, "", minisign.ErrFormat, ""},
		{"a page", index, "<!doctype html>\n<html>\n</html>\n", minisign.ErrFormat, ""},
		{"without the trusted comment", index, lines[0] + lines[1], minisign.ErrFormat, ""},
		{"not base64", index, lines[0] + "?" + strings.Join(lines[1:], ""), minisign.ErrFormat, ""},
		{"too short", index, lines[0] + "RUQc\n" + lines[2] + lines[3], minisign.ErrFormat, ""},
	}
	keys := []minisign.PublicKey{key(t, "current"), key(t, "next")}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			comment, err := minisign.Verify(keys, []byte(test.content), []byte(test.signature))
			if !errors.Is(err, test.want) || comment != test.comment {
				t.Errorf("got comment %q and error %v, want %q and %v", comment, err, test.comment, test.want)
			}
		})
	}
	if _, err := minisign.Verify(nil, []byte(index), []byte(signature)); !errors.Is(err, minisign.ErrForeign) {
		t.Errorf("without keys: got error %v, want %v", err, minisign.ErrForeign)
	}
}

// TestEveryBit: no single bit of index or signature can be another, but in the untrusted comment.
func TestEveryBit(t *testing.T) {
	t.Parallel()
	index, signature := []byte(read(t, "index.json")), []byte(read(t, "current-7.minisig"))
	keys := []minisign.PublicKey{key(t, "current")}
	flip := func(in []byte, from int) {
		for at := from; at < len(in); at++ {
			if in[at] == '\n' && at == len(in)-1 {
				continue // the last line may end or not
			}
			in[at] ^= 1
			if comment, err := minisign.Verify(keys, index, signature); err == nil {
				t.Errorf("byte %d: got the comment %q, want an error", at, comment)
			}
			in[at] ^= 1
		}
	}
	flip(index, 0)
	flip(signature, strings.Index(string(signature), "\n"))
}

func TestParsePublicKey(t *testing.T) {
	t.Parallel()
	file := read(t, "current.pub")
	_, line, _ := strings.Cut(file, "\n")
	for _, text := range []string{file, line, strings.TrimSpace(line)} {
		if key, err := minisign.ParsePublicKey(text); err != nil || !strings.Contains(file, key.String()) {
			t.Errorf("ParsePublicKey(%q): got %s and error %v, want the number that the file names", text, key, err)
		}
	}
	for _, text := range []string{"", "RWQ", line[1:], "RUQ" + line[3:], read(t, "current-7.minisig")} {
		if key, err := minisign.ParsePublicKey(text); err == nil {
			t.Errorf("ParsePublicKey(%q): got %s, want an error", text, key)
		}
	}
}

func FuzzVerify(f *testing.F) {
	for _, name := range []string{"current-7", "legacy-7", "foreign-9"} {
		content, err := os.ReadFile(filepath.Join("testdata", name+".minisig"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, signature []byte) {
		if comment, err := minisign.Verify(nil, []byte("x"), signature); err == nil {
			t.Errorf("got the comment %q, want an error", comment)
		}
	})
}

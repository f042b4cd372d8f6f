package ui

import "testing"

func TestClean(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain ä\tline\n":                      "plain ä\tline\n",
		"\x1bc\x1b[2J\x1b[1;31mred\x1b[0m\n":   "red\n",
		"a\x1b]0;title\x07b\x1b]52;c;x\x1b\\c": "abc",
		"a\x1bPq#0\x1b\\b":                     "ab",
		"a\x1b(Bb\x1b=c":                       "abc",
		"[  OK  ] a\r\x07\x08\x00b":            "[  OK  ] ab",
		"a\u009b2Jb":                           "ab",
		"a\x9b2Jb":                             "a2Jb",
		"end \x1b":                             "end ",
		"end \x1b[":                            "end ",
	} {
		if got := string(Clean([]byte(text))); got != want {
			t.Errorf("Clean(%q): got %q, want %q", text, got, want)
		}
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"before ä": "before ä", "a\x1b[2J\nb\tc": `a\x1b[2J\nb\tc`, "\u009b": `\u009b`} {
		if got := Line(text); got != want {
			t.Errorf("Line(%q): got %q, want %q", text, got, want)
		}
	}
}

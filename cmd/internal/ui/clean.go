package ui

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// control is a control sequence of a terminal (ECMA-48): those that begin with CSI, the strings of OSC, DCS, APC, PM and SOS up to
// their end, and shorter ones.
var control = regexp.MustCompile(`(?:\x1b\[|\x{9b})[0-?]*[ -/]*[@-~]?|(?:\x1b[\]PX^_]|[\x{9d}\x{90}\x{98}\x{9e}\x{9f}])[^\x07\x1b\x{9c}]*(?:\x07|\x1b\\|\x{9c})?|\x1b[ -/]*[0-~]?`) //nolint:gochecknoglobals // compiled once, never changed

// Clean returns text that a machine or a program has said without what would steer a terminal: it can be cleared, renamed and made
// to type. Lines and tabs stay.
func Clean(text []byte) []byte {
	if !bytes.ContainsFunc(text, steers) {
		return text
	}
	text = bytes.ToValidUTF8(text, []byte(string(utf8.RuneError)))
	text = control.ReplaceAll(text, nil)
	return bytes.Map(func(r rune) rune {
		if steers(r) {
			return -1
		}
		return r
	}, text)
}

// Line returns text that a user gave, for a line of a table: what would steer the terminal or break the line is shown as Go and
// JSON write it.
func Line(text string) string {
	var line strings.Builder
	for _, r := range text {
		if unicode.IsControl(r) {
			quoted := strconv.QuoteRuneToASCII(r)
			line.WriteString(quoted[1 : len(quoted)-1])
			continue
		}
		line.WriteRune(r)
	}
	return line.String()
}

func steers(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' || r == utf8.RuneError
}

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// formula fills version, commit and the sum of the source archive into the formula for Homebrew.
func (r release) formula(source string) error {
	text, err := os.ReadFile(filepath.Join("packaging", "homebrew", "skiff.rb"))
	if err != nil {
		return err
	}
	sum, err := sumOf(filepath.Join(r.out, source))
	if err != nil {
		return err
	}
	filled, err := fillFormula(string(text), r.version, r.commit, sum)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, "skiff.rb"), []byte(filled), 0o644) //nolint:gosec // it is for everybody
}

// fillFormula replaces what stands in the formula for values of a release. Each must be there.
func fillFormula(text, version, commit, sum string) (string, error) {
	for _, one := range []struct{ pattern, value string }{
		{`v0\.0\.0`, version}, {`sha256 "0{64}"`, `sha256 "` + sum + `"`}, {`main\.commit=0{40}`, "main.commit=" + commit},
	} {
		pattern := regexp.MustCompile(one.pattern)
		if !pattern.MatchString(text) {
			return "", fmt.Errorf("the formula has nothing in it like %s to be replaced", one.pattern)
		}
		text = pattern.ReplaceAllLiteralString(text, one.value)
	}
	if strings.Contains(text, "0.0.0") {
		return "", errors.New("the formula still names version 0.0.0")
	}
	return text, nil
}

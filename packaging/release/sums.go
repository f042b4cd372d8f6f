package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// sumsName is the file with the sums of all others, as sha256sum --check reads it.
const sumsName = "SHA256SUMS"

// sums writes it.
func (r release) sums() error {
	entries, err := os.ReadDir(r.out) // sorted by name
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, one := range entries {
		sum, err := sumOf(filepath.Join(r.out, one.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%s  %s\n", sum, one.Name())
	}
	return os.WriteFile(filepath.Join(r.out, sumsName), []byte(text.String()), 0o644) //nolint:gosec // it is for everybody
}

// sumOf is the SHA-256 of a file.
func sumOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

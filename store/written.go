package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
	"sigs.k8s.io/yaml"

	"github.com/skiff-k8s/skiff/fail"
)

// Each file of skiff's state has at its top the field "skiff", the version that wrote it; files from before there was one lack it,
// and are read nevertheless.

// OtherError says that a file cannot be read, and that it may be because another version of skiff wrote it.
type OtherError struct {
	By  string // that version
	Err error  // what cannot be read
}

func (e *OtherError) Error() string { return fmt.Sprintf("written by skiff %s: %v", e.By, e.Err) }

// Unwrap returns what cannot be read.
func (e *OtherError) Unwrap() error { return e.Err }

// FieldError says that a file is whole and has something that this version of skiff does not know, such as a field.
type FieldError struct{ Err error }

func (e *FieldError) Error() string { return e.Err.Error() }

// Unwrap returns what is not known.
func (e *FieldError) Unwrap() error { return e.Err }

// MadeBy returns err as an *OtherError where the file names the version that wrote it, and else as it is. content is the file, as
// JSON or YAML.
func MadeBy(err error, content []byte) error {
	var file struct {
		Skiff string `json:"skiff"`
	}
	if err == nil || yaml.Unmarshal(content, &file) != nil || file.Skiff == "" {
		return err
	}
	return &OtherError{By: file.Skiff, Err: err}
}

// ReadJSON reads a file into the value that into points to, and refuses fields that the value does not have: what they mean cannot be
// left out. Such a field gives a *FieldError. Where the file names the version that wrote it the error is an *OtherError.
func ReadJSON(content []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	err := json.Unmarshal(content, into) // a Decoder does not look at what comes after the value
	if err == nil {
		err = unknown(decoder.Decode(into))
	}
	return MadeBy(err, content)
}

// ReadYAML is ReadJSON for a file of YAML.
func ReadYAML(content []byte, into any) error {
	err := yaml.Unmarshal(content, into)
	if err == nil {
		err = unknown(yaml.UnmarshalStrict(content, into))
	}
	return MadeBy(err, content)
}

// unknown makes what a strict decoder says of a file that a lenient one reads a *FieldError.
func unknown(err error) error {
	if err == nil {
		return nil
	}
	return &FieldError{Err: err}
}

// RefuseOther makes an *OtherError the fail.StateNewer that users meet, unless the file was written by this very version, skiff, or an
// older one: then it was changed since. Other errors, and nil, stay as they are.
func RefuseOther(op, skiff string, err error) error {
	other, ok := errors.AsType[*OtherError](err)
	if !ok || other.By == skiff || older(other.By, skiff) {
		return err
	}
	return fail.New(fail.StateNewer, op, "written by skiff %s, this is %s: %w", other.By, skiff, other.Err).WithNext("skiff version")
}

// described is what `git describe` adds to the last release's version for what was built later.
var described = regexp.MustCompile(`(-[0-9]+-g[0-9a-f]+)?(-dirty)?$`) //nolint:gochecknoglobals // compiled once, never changed

// older reports whether version by of skiff is certainly older than version skiff. That can be told only of a release: what is built
// between two releases, or without any, may be from a branch that the other one lacks.
func older(by, skiff string) bool {
	by, _, _ = strings.Cut(by, " ") // the commit follows
	skiff, _, _ = strings.Cut(skiff, " ")
	since := described.FindString(skiff)
	then, err := semver.NewVersion(by)
	now, unknown := semver.NewVersion(strings.TrimSuffix(skiff, since))
	if err != nil || unknown != nil || described.FindString(by) != "" || then.Major()+then.Minor()+then.Patch() == 0 {
		return false // v0.0.0-dev is what was built without a release before it
	}
	return then.LessThan(now) || then.Equal(now) && since != ""
}

package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

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
// left out. Where the file names the version that wrote it the error is an *OtherError.
func ReadJSON(content []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	err := json.Unmarshal(content, into) // a Decoder does not look at what comes after the value
	if err == nil {
		err = decoder.Decode(into)
	}
	return MadeBy(err, content)
}

// RefuseOther makes an *OtherError the fail.StateNewer that users meet, unless the file was written by this very version, skiff: then it
// was changed since. Other errors, and nil, stay as they are.
func RefuseOther(op, skiff string, err error) error {
	other, ok := errors.AsType[*OtherError](err)
	if !ok || other.By == skiff || fail.Is(err, fail.StateNewer) {
		return err
	}
	return fail.New(fail.StateNewer, op, "written by skiff %s, this is %s: %w", other.By, skiff, other.Err).WithNext("skiff version")
}

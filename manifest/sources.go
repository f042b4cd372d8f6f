package manifest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/skiff-k8s/skiff/fail"
)

// Builder makes a manifest from a kustomization.
type Builder interface {
	Build(ctx context.Context, dir string) ([]byte, error)
}

// Input says where manifests are, in the words of kubectl's flags.
type Input struct {
	Files     []string  // -f: files, folders, patterns such as *.yaml, "-" for Stdin
	Recursive bool      // -R: folders with all folders below them
	Kustomize string    // -k: a folder with a kustomization; instead of Files
	Stdin     io.Reader // read for "-"
	Builder   Builder   // used for Kustomize
}

// Source is one manifest as it was found.
type Source struct {
	Name string // path as the user would write it, "stdin", or the kustomization's folder
	Data []byte
}

// Sources reads the manifests that in names: files in the order given, those of a folder by name. Of a folder it takes
// *.yaml, *.yml and *.json, as kubectl does.
func Sources(ctx context.Context, in Input) ([]Source, error) {
	switch {
	case in.Kustomize != "" && len(in.Files) > 0:
		return nil, fail.New(fail.FlagInvalid, "read manifests", "-f and -k cannot be used together")
	case in.Kustomize != "":
		return kustomized(ctx, in)
	case len(in.Files) == 0:
		return nil, fail.New(fail.FlagInvalid, "read manifests", "no manifest is named").
			WithHint("Name a file or folder with -f, or a kustomization with -k.")
	}
	var sources []Source
	stdinRead := false
	for _, file := range in.Files {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read manifests: %w", err)
		}
		if file == "-" && stdinRead {
			return nil, fail.New(fail.FlagInvalid, "read manifests", "standard input can be read only once")
		}
		stdinRead = stdinRead || file == "-"
		found, err := read(in, file)
		if err != nil {
			return nil, err
		}
		sources = append(sources, found...)
	}
	return sources, nil
}

func kustomized(ctx context.Context, in Input) ([]Source, error) {
	if isURL(in.Kustomize) {
		return nil, refuseURL(in.Kustomize)
	}
	data, err := in.Builder.Build(ctx, in.Kustomize)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("build kustomization %s: %w", in.Kustomize, err)
		}
		return nil, fail.New(fail.ManifestInvalid, "build kustomization "+in.Kustomize, "%w", err)
	}
	return []Source{{Name: in.Kustomize, Data: data}}, nil
}

func read(in Input, file string) ([]Source, error) {
	if isURL(file) {
		return nil, refuseURL(file)
	}
	if file == "-" {
		data, err := limited(in.Stdin)
		switch {
		case errors.Is(err, errTooLong):
			return nil, unreadable("stdin", err)
		case err != nil: // a folder, as of "< manifests/"
			return nil, unreadable("stdin", err)
		}
		return []Source{{Name: "stdin", Data: data}}, nil
	}
	paths, err := expand(file, in.Recursive)
	if err != nil {
		return nil, unreadable(file, err)
	}
	var sources []Source
	for _, path := range paths {
		data, err := readFile(path)
		if err != nil {
			return nil, unreadable(path, err)
		}
		sources = append(sources, Source{Name: path, Data: data})
	}
	return sources, nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return limited(file)
}

// Blank reports whether a manifest has no object: nothing but white space, comments and markers of documents.
func Blank(manifest []byte) bool {
	parts, err := split(manifest)
	return err == nil && !slices.ContainsFunc(parts, func(p part) bool { return !p.blank() })
}

// errTooLong says that what was read cannot be a manifest. An API server takes objects of 3 MiB at most (apiserver,
// pkg/server/config.go, MaxRequestBodyBytes), and people keep some dozens of large ones in a file.
var errTooLong = errors.New("it is longer than 64 MiB")

// limited reads all there is, unless that does not end.
func limited(r io.Reader) ([]byte, error) {
	const limit = 64 << 20
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && len(data) > limit {
		return nil, errTooLong
	}
	return data, err
}

// expand returns the files that a -f names.
func expand(file string, recursive bool) ([]string, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(file, "*?[") {
		matched, globErr := filepath.Glob(file)
		if globErr != nil || len(matched) == 0 {
			return nil, err
		}
		return matched, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{file}, nil
	}
	var paths []string
	err = filepath.WalkDir(file, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != file && !recursive:
			return filepath.SkipDir
		case !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			paths = append(paths, path)
		}
		return nil
	})
	if err == nil && len(paths) == 0 {
		err = errors.New("the folder holds no *.yaml, *.yml or *.json file")
	}
	return paths, err
}

func unreadable(path string, err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err // the path is in the message already
	}
	failure := fail.New(fail.ManifestInvalid, "read manifest "+path, "%w", err)
	if errors.Is(err, errTooLong) {
		return failure.WithHint("Is it a manifest? If it is, give it in parts.")
	}
	return failure.WithHint("Name a file or folder that exists and can be read.")
}

func isURL(file string) bool {
	return strings.HasPrefix(file, "http://") || strings.HasPrefix(file, "https://")
}

func refuseURL(url string) error {
	return fail.New(fail.FlagInvalid, "read manifest "+url, "skiff reads manifests from this machine only").
		WithHint("Fetch the file, look at it, and pipe it in with -f - or name it.").
		WithNext("curl -fsSLO %s", url)
}

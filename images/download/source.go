package download

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
)

// source is a place that may have blobs. It is asked by one goroutine at a time.
type source interface {
	fmt.Stringer   // for people, so without logins
	network() bool // whether asking it needs the network
	// open returns the blob from offset on, or from its beginning when the source cannot do the former; from is which. Errors are a
	// *problem or what the network said.
	open(ctx context.Context, blob v1.Descriptor, offset int64) (body io.ReadCloser, from int64, err error)
	// index returns an index of images: what has that digest, or else the problem that it has not.
	index(ctx context.Context, want digest.Digest) ([]byte, error)
	// signed opens the index of the newest images, and then its signature.
	signed(ctx context.Context) (index, signature []byte, err error)
}

// The files of the newest images' index and its signature.
const (
	indexName     = v1.ImageIndexFile
	signatureName = indexName + ".minisig"
)

// parseSource reads a source as users write it.
func parseSource(text string, client *client, keychain authn.Keychain) (source, error) {
	scheme, _, isURL := strings.Cut(text, ":")
	switch {
	case strings.HasPrefix(text, "https://"), strings.HasPrefix(text, "http://"):
		base, err := url.Parse(text)
		if err != nil || base.Host == "" {
			return nil, noSource(text)
		}
		return &static{client: client, base: base, form: -1}, nil
	case strings.HasPrefix(text, "oci://"):
		return parseRegistry(text, client, keychain)
	case scheme == "file" && isURL:
		parsed, err := url.Parse(text)
		if err != nil || parsed.Path == "" || parsed.Host != "" && parsed.Host != "localhost" {
			return nil, noSource(text)
		}
		return folder(parsed.Path), nil
	case strings.Contains(text, "://") || text == "":
		return nil, noSource(text)
	}
	return folder(text), nil
}

func noSource(text string) error {
	return fail.New(fail.FlagInvalid, "read the place "+clean(text), "it is none; use https://host/path, oci://host/repository, file:///path or the path of a folder")
}

// folder is a folder with an OCI image layout, or with its blobs side by side.
type folder string

func (f folder) String() string { return string(f) }

func (f folder) network() bool { return false }

func (f folder) open(_ context.Context, blob v1.Descriptor, offset int64) (io.ReadCloser, int64, error) {
	var file *os.File
	err := firstOf(names(blob.Digest), func(name string) (err error) {
		file, err = os.Open(filepath.Join(string(f), filepath.FromSlash(name)))
		return f.explain(err, "it")
	})
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = &problem{text: "has something else than a file in its place"}
	case info.Size() != blob.Size:
		err = wrongSize(info.Size(), blob.Size)
	default:
		_, err = file.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, offset, nil
}

// explain says why the folder does not have something.
func (f folder) explain(err error, what string) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, missing := os.Stat(string(f)); missing != nil {
		return &problem{text: "is not there", dead: true, err: err}
	}
	return &problem{text: "does not have " + what, missing: true, err: err}
}

func (f folder) index(_ context.Context, want digest.Digest) (content []byte, err error) {
	err = firstOf(append([]string{indexName}, names(want)...), func(name string) error {
		content, err = f.read(name)
		return cmp.Or(err, another(content, want))
	})
	return content, err
}

// read reads a small file.
func (f folder) read(name string) ([]byte, error) {
	file, err := os.Open(filepath.Join(string(f), filepath.FromSlash(name)))
	if err != nil {
		return nil, f.explain(err, name)
	}
	defer func() { _ = file.Close() }()
	return readIndex(file)
}

func (f folder) signed(context.Context) (index, signature []byte, err error) {
	if index, err = f.read(indexName); err == nil {
		signature, err = f.read(signatureName)
	}
	return index, signature, err
}

// names are where a blob may be below a source: in an OCI image layout, and beside all others, as the files of a release are.
func names(digest digest.Digest) []string {
	return []string{v1.ImageBlobsDir + "/sha256/" + digest.Encoded(), "sha256-" + digest.Encoded()}
}

func wrongSize(got, want int64) *problem {
	return &problem{text: fmt.Sprintf("has something else under that name: %d bytes instead of %d", got, want)}
}

// firstOf asks for names until one is there, or something else than its absence is wrong. When none is there it returns the problem of
// the first.
func firstOf(names []string, ask func(name string) error) error {
	var first error
	for _, name := range names {
		err := ask(name)
		if absent, ok := errors.AsType[*problem](err); !ok || !absent.missing {
			return err
		}
		first = cmp.Or(first, err)
	}
	return first
}

// another is the problem of an index with another digest; nil when it is the one.
func another(content []byte, want digest.Digest) error {
	if got := digest.FromBytes(content); got != want {
		return &problem{text: fmt.Sprintf("has another index of images, %s", got), do: "It is of another release: correct the address, or use another place.", missing: true}
	}
	return nil
}

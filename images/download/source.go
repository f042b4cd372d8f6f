package download

import (
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
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/skiff-k8s/skiff/fail"
)

// source is a place that may have blobs. It is asked by one goroutine at a time.
type source interface {
	fmt.Stringer   // for people, so without logins
	network() bool // whether asking it needs the network
	// open returns the blob from offset on, or from its beginning when the source cannot do the former; from is which. Errors are a
	// *problem or what the network said.
	open(ctx context.Context, blob v1.Descriptor, offset int64) (body io.ReadCloser, from int64, err error)
	// signed opens the index of the newest images, and then its signature.
	signed(ctx context.Context) (index, signature []byte, err error)
}

// The files of the newest images' index and its signature.
const (
	indexName     = "index.json"
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
		return &static{client: client, base: base}, nil
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
	var err error
	for _, name := range names(blob.Digest) {
		if file, err = os.Open(filepath.Join(string(f), filepath.FromSlash(name))); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return nil, 0, f.explain(err, "it")
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
	return &problem{text: "does not have " + what, err: err}
}

func (f folder) signed(context.Context) (index, signature []byte, err error) {
	read := func(name string) []byte {
		var file *os.File
		if err != nil {
			return nil
		}
		if file, err = os.Open(filepath.Join(string(f), name)); err != nil {
			err = f.explain(err, name)
			return nil
		}
		defer func() { _ = file.Close() }()
		var content []byte
		content, err = readIndex(file)
		return content
	}
	index, signature = read(indexName), read(signatureName)
	return index, signature, err
}

// names are where a blob may be below a source: in an OCI image layout, and beside all others, as the files of a release are.
func names(digest v1.Hash) []string {
	return []string{"blobs/sha256/" + digest.Hex, "sha256-" + digest.Hex}
}

func wrongSize(got, want int64) *problem {
	return &problem{text: fmt.Sprintf("has something else under that name: %d bytes instead of %d", got, want)}
}

package download

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images/minisign"
	"github.com/skiff-k8s/skiff/store"
)

// Index returns the index of images with that digest, and saves it like a blob, so that no source is asked again. Sources have it as
// their index.json or as a blob, and a registry as a manifest; its size need not be known. Failures are those of Fetch.
func (d *Downloader) Index(ctx context.Context, want digest.Digest) ([]byte, error) {
	r, err := d.begin([]v1.Descriptor{{Digest: want}}, nil)
	if err != nil {
		return nil, err
	}
	if content, err := folder(d.config.Dir).read(names(want)[0]); err == nil && another(content, want) == nil {
		return content, nil
	}
	var content []byte
	err = r.each(ctx, "download the index of guest images "+want.String(), func(s source) error {
		return r.small(ctx, s, func(ctx context.Context) (err error) {
			content, err = s.index(ctx, want)
			return err
		})
	})
	if err == nil {
		err = store.Write(d.Path(want), content, 0o600)
	}
	if err != nil {
		return nil, err
	}
	return content, nil
}

// Trust is what makes an index believable whose digest is not known: newer images than this skiff was built with.
type Trust struct {
	// Keys are those that may sign: the current one, and the next, so that a key can be replaced without a new skiff everywhere.
	Keys []minisign.PublicKey
	// Seen is the file that remembers the highest serial number that was believed. It must not lie in a cache: without it an old
	// index would be news.
	Seen string
}

// Signed is an index of images that somebody vouches for.
type Signed struct {
	Content []byte
	Serial  uint64
}

// Newest returns the first index among the sources that one of the keys signed, in its index.json and index.json.minisig, or in a
// registry under the tags latest and sha256-HEX.minisig. The trusted comment has the word serial:N; an index with a lower number than
// one that was seen before is refused, as somebody may hold back newer ones.
//
// Failures with a known remedy: as of Fetch, and fail.IndexUntrusted and fail.IndexOlder where the best answer was such a one.
func (d *Downloader) Newest(ctx context.Context, trust Trust) (Signed, error) {
	r, err := d.begin(nil, nil)
	if err != nil {
		return Signed{}, err
	}
	seen, err := readSerial(trust.Seen)
	if err != nil {
		return Signed{}, err
	}
	var found Signed
	err = r.each(ctx, "look for newer guest images", func(s source) error {
		var content, signature []byte
		err := r.small(ctx, s, func(ctx context.Context) (err error) {
			content, signature, err = s.signed(ctx)
			return err
		})
		if err != nil {
			return err
		}
		found, err = believe(trust.Keys, seen, content, signature)
		return err
	})
	if err == nil {
		err = remember(trust.Seen, found.Serial)
	}
	if err != nil {
		return Signed{}, err
	}
	return found, nil
}

// small asks a source for something that is not worth continuing.
func (r *run) small(ctx context.Context, s source, ask func(context.Context) error) error {
	return r.retry(ctx, func() int64 { return 0 }, func(ctx context.Context, _ *time.Timer) error {
		if err := ask(ctx); err != nil {
			return &askedError{err: err, before: r.answered[s]}
		}
		r.answered[s] = true
		return nil
	})
}

// believe holds an index to its signature, and to the serial number that was seen.
func believe(keys []minisign.PublicKey, seen uint64, content, signature []byte) (Signed, error) {
	comment, err := minisign.Verify(keys, content, signature)
	if err != nil {
		return Signed{}, &problem{
			id: fail.IndexUntrusted, text: "has an index that is not believed: " + err.Error(), err: err,
			do: "Use the images that this skiff was built with, or a newer skiff if the key was replaced; tell the project otherwise.",
		}
	}
	serial, err := serialOf(comment)
	if err != nil {
		return Signed{}, &problem{id: fail.IndexUntrusted, text: "has an index that is not believed: " + err.Error()}
	}
	if serial < seen {
		return Signed{}, &problem{
			id: fail.IndexOlder, text: fmt.Sprintf("has index %d, and index %d was seen before", serial, seen),
			do: "A mirror may be behind: use another place, or wait until it has caught up.",
		}
	}
	return Signed{content, serial}, nil
}

// serialOf reads the one word serial:N of a trusted comment.
func serialOf(comment string) (uint64, error) {
	var found []string
	for word := range strings.FieldsSeq(comment) {
		if number, ok := strings.CutPrefix(word, "serial:"); ok {
			found = append(found, number)
		}
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("its trusted comment has %d serial numbers instead of one", len(found))
	}
	serial, err := strconv.ParseUint(found[0], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("its serial number %q is none", found[0])
	}
	return serial, nil
}

// readSerial reads what Newest has remembered; 0 when there is nothing yet.
func readSerial(path string) (uint64, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	serial, err := strconv.ParseUint(strings.TrimSpace(string(content)), 10, 64)
	if err != nil {
		return 0, fail.New(fail.StateCorrupt, "read "+path, "it does not have a serial number").WithHint("Remove the file; then an old index of guest images is taken for new once.")
	}
	return serial, nil
}

// remember writes the serial number down, unless another process has seen a higher one meanwhile.
func remember(path string, serial uint64) error {
	release, err := store.Wait(path + ".lock")
	if err != nil {
		return err
	}
	defer release()
	if seen, err := readSerial(path); err != nil || seen >= serial {
		return err
	}
	return store.Write(path, []byte(strconv.FormatUint(serial, 10)+"\n"), 0o600)
}

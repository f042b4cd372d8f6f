// Package download brings the blobs of a guest image to this host: content that is named by its digest, from an OCI image layout
// behind HTTPS, an OCI registry or a folder. It continues what was cut off, believes no source, and says of each one why it did not
// serve. What the blobs mean is package images' business.
package download

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// Config says from where to where.
type Config struct {
	// Dir is the folder of an OCI image layout, made when missing: blobs go to blobs/sha256/HEX, and what is not complete lies in
	// partial until it is. Safe to share between processes.
	Dir string
	// Sources are asked in this order: https://host/path, oci://host/repository, file:///path or the path of a folder. Over HTTPS
	// and in a folder there is an OCI image layout, or its blobs lie side by side as sha256-HEX.
	Sources []string
	Offline bool   // no network; folders are read
	CAFile  string // PEM file of certificates to trust besides the system's; empty: none

	Env      func(string) string // for HTTPS_PROXY, HTTP_PROXY and NO_PROXY, also in lower case; nil: no proxy
	Keychain authn.Keychain      // logins for registries that want one, sent over TLS only; nil: none
	Holder   store.Holder        // who this process is, for others that wait for it

	// Waits is told who downloads a blob that is waited for, and again when that becomes known or another; may be nil.
	Waits func(store.Holder)
}

// Progress is how far a Fetch is, in bytes.
type Progress struct {
	Done    int64 // of Total; less than before when a source begins a blob again
	Total   int64 // of all blobs
	Fetched int64 // that came during this Fetch: what a rate is made of
}

// Downloader fetches blobs. Its methods must not be called concurrently; any number of Downloaders, in any number of processes, may
// share a folder.
type Downloader struct {
	config  Config
	sources []source

	// Tests replace these.
	clock clock
	free  func(dir string) (int64, error)
}

// clock is how the Downloader waits.
type clock struct {
	stall time.Duration // without a byte, until a source is asked again
	pause func(context.Context, time.Duration) error
}

const stall = 30 * time.Second

// New reads the configuration. A source that is none, or a CAFile that cannot be read, is fail.FlagInvalid. Nothing is asked yet.
func New(config Config) (*Downloader, error) {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return newDownloader(config, dialer.DialContext)
}

// newDownloader is New with another way to open connections.
func newDownloader(config Config, dial dialFunc) (*Downloader, error) {
	client, err := newClient(config.Env, config.CAFile, dial)
	if err != nil {
		return nil, err
	}
	d := &Downloader{config: config, clock: clock{stall: stall, pause: pause}, free: host.FreeBytes}
	var problems []error
	for _, text := range config.Sources {
		source, err := parseSource(text, client, config.Keychain)
		d.sources, problems = append(d.sources, source), append(problems, err)
	}
	return d, errors.Join(problems...)
}

// pause waits, and ends early with ctx's error.
func pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Path is where the blob with that digest lies once it has been fetched.
func (d *Downloader) Path(digest digest.Digest) string {
	return filepath.Join(d.config.Dir, v1.ImageBlobsDir, digest.Algorithm().String(), digest.Encoded())
}

// Fetch brings all blobs to the folder, one after the other, each held to its digest; nil means that they are there and on the disk.
// Blobs that are there already are read once and fetched only when they are damaged. What ctx cuts off, or a kill, is continued by the
// next Fetch, from whichever source. Of a descriptor the digest, which must be SHA-256, the size and, for registries, the media type
// count. progress, which may be nil, is told after every block and when something is found to be there, by the calling goroutine.
//
// Failures with a known remedy: fail.DownloadFailed and, with Offline, fail.Offline, both wrapping *MissesError; fail.HostDiskFull.
func (d *Downloader) Fetch(ctx context.Context, blobs []v1.Descriptor, progress func(Progress)) error {
	run, err := d.begin(blobs, progress)
	if err != nil {
		return err
	}
	if err := run.room(); err != nil {
		return err
	}
	for _, blob := range run.blobs {
		if err := run.blob(ctx, blob); err != nil {
			return err
		}
	}
	return nil
}

// run is one Fetch.
type run struct {
	*Downloader
	blobs         []v1.Descriptor // each once
	total, before int64           // of all blobs; of those that are done
	fetched       int64
	tell          func(Progress)   // nil: nobody
	answered      map[source]bool  // that have served something
	dead          map[source]error // that are not worth asking again, and why
}

func (d *Downloader) begin(blobs []v1.Descriptor, progress func(Progress)) (*run, error) {
	r := &run{Downloader: d, tell: progress, answered: map[source]bool{}, dead: map[source]error{}}
	seen := map[digest.Digest]bool{}
	for _, blob := range blobs {
		// Digests become file names.
		if blob.Digest.Validate() != nil || blob.Digest.Algorithm() != digest.SHA256 || blob.Size < 0 {
			return nil, fail.New(fail.ChecksumMismatch, "download the guest image", "a part of %d bytes with digest %q cannot be", blob.Size, blob.Digest)
		}
		if !seen[blob.Digest] {
			seen[blob.Digest] = true
			r.blobs = append(r.blobs, blob)
			r.total += blob.Size
		}
	}
	for _, dir := range []string{filepath.Dir(d.Path(digest.FromString(""))), d.partials()} {
		if err := store.Folder(dir); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// partials is the folder of what is not complete, and of the locks.
func (d *Downloader) partials() string { return filepath.Join(d.config.Dir, "partial") }

// room refuses to begin what the disk cannot hold. Another process may take the room later; then writing fails.
func (r *run) room() error {
	var missing int64
	for _, blob := range r.blobs {
		missing += blob.Size
		for _, path := range []string{r.Path(blob.Digest), partPath(r.partials(), blob)} {
			if info, err := os.Stat(path); err == nil {
				missing -= min(info.Size(), blob.Size)
				break
			}
		}
	}
	free, err := r.free(r.config.Dir)
	if err != nil || free >= missing {
		return nil // where the system does not say, writing will
	}
	const mib = 1 << 20
	return fail.New(fail.HostDiskFull, "download the guest image", "%d MiB are missing, and %d MiB are free in %s", (missing+mib-1)/mib, free/mib, r.config.Dir).
		WithNext("df -h %s", machine.Quote(r.config.Dir))
}

func (r *run) progress(inBlob int64) {
	if r.tell != nil {
		r.tell(Progress{Done: r.before + inBlob, Total: r.total, Fetched: r.fetched})
	}
}

// blob brings one blob. The lock makes other processes wait for it rather than fetch it too.
func (r *run) blob(ctx context.Context, blob v1.Descriptor) error {
	there, err := r.whole(ctx, blob)
	if err != nil || there {
		return err
	}
	path := partPath(r.partials(), blob)
	release, err := store.Lock(ctx, path+".lock", r.config.Holder, func(holder store.Holder) {
		if r.config.Waits != nil {
			r.config.Waits(holder)
		}
	})
	if err != nil {
		return store.NoSpace("lock "+path, err)
	}
	defer release()
	defer func() { _ = os.Remove(path + ".lock") }() // only who holds it may; then it does not pile up
	if there, err = r.whole(ctx, blob); err != nil || there {
		return err
	}
	if err := os.Remove(r.Path(blob.Digest)); err != nil && !errors.Is(err, fs.ErrNotExist) { // a damaged one only takes room
		return err
	}
	part, err := openPart(ctx, path, blob)
	if err != nil {
		return err
	}
	defer part.close()
	r.progress(part.size)
	if err := r.each(ctx, "download "+blob.Digest.String(), func(s source) error { return r.from(ctx, s, blob, part) }); err != nil {
		return err
	}
	if err := part.finish(r.Path(blob.Digest)); err != nil {
		return err
	}
	r.done(blob)
	return nil
}

// whole reports whether the blob is there, undamaged.
func (r *run) whole(ctx context.Context, blob v1.Descriptor) (bool, error) {
	there, err := holds(ctx, r.Path(blob.Digest), blob)
	if there {
		r.done(blob)
	}
	return there, err
}

func (r *run) done(blob v1.Descriptor) {
	r.before += blob.Size
	r.progress(0)
}

// each asks the sources in order until one serves, and remembers why each did not. Failures of this host, such as a full disk, end it.
func (r *run) each(ctx context.Context, op string, ask func(source) error) error {
	var misses []Miss
	for _, s := range r.sources {
		err := cmp.Or(r.dead[s], r.forbidden(s))
		if err == nil {
			err = ask(s)
		}
		if err == nil {
			return nil
		}
		miss, ofSource := errors.AsType[*problem](err)
		if !ofSource || ctx.Err() != nil {
			return cmp.Or(ctx.Err(), err)
		}
		if miss.dead {
			r.dead[s] = miss
		}
		misses = append(misses, Miss{Place: s.String(), Err: miss})
	}
	return r.missed(op, misses)
}

// forbidden is why a source may not be asked; nil when it may.
func (r *run) forbidden(s source) error {
	if r.config.Offline && s.network() {
		return &problem{text: "was not asked, as --offline or SKIFF_OFFLINE forbids the network", dead: true}
	}
	return nil
}

// from brings the blob from one source into part.
func (r *run) from(ctx context.Context, s source, blob v1.Descriptor, part *part) error {
	for {
		part.foreign = part.size > 0 // from another source, or another time
		err := r.retry(ctx, func() int64 { return part.size }, func(ctx context.Context, watch *time.Timer) error {
			return r.attempt(ctx, s, blob, part, watch)
		})
		if err != nil {
			return err
		}
		sum, foreign := part.sum(), part.foreign
		if sum == blob.Digest.Encoded() {
			return nil
		}
		if err := part.restart(); err != nil {
			return err
		}
		r.progress(0)
		if !foreign {
			return &problem{text: "sent something else, which has SHA-256 " + sum, do: "Tell whoever runs it; nothing of it is used."}
		}
		// Not all of it came from this source, so that the fault may be in what was there before: ask once more, for all of it.
	}
}

// attempt asks once and writes what comes.
func (r *run) attempt(ctx context.Context, s source, blob v1.Descriptor, part *part, watch *time.Timer) error {
	if part.size == blob.Size {
		return nil
	}
	body, from, err := s.open(ctx, blob, part.size)
	if err != nil {
		return &askedError{err: err, before: r.answered[s]}
	}
	defer func() { _ = body.Close() }()
	r.answered[s] = true
	if from != part.size {
		if err := part.restart(); err != nil {
			return err
		}
		r.progress(0)
	}
	buffer := make([]byte, block)
	for part.size < blob.Size {
		watch.Reset(r.clock.stall)
		n, err := body.Read(buffer[:min(block, blob.Size-part.size)])
		watch.Stop() // a slow disk is no fault of the source
		if n > 0 {
			r.fetched += int64(n)
			if err := part.write(buffer[:n]); err != nil {
				return err
			}
			r.progress(part.size)
		}
		if err != nil && part.size < blob.Size {
			return &askedError{err: err, before: true, at: part.size, of: blob.Size}
		}
	}
	return nil
}

// block is how much is read at once, in bytes, and so the most that a kill loses of what has come.
const block = 128 << 10

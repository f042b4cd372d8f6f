package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/images/download"
	"github.com/skiff-k8s/skiff/images/layout"
	"github.com/skiff-k8s/skiff/images/pull"
	"github.com/skiff-k8s/skiff/store"
)

// ImageSearch says where a guest image is looked for. Places are written as download.ParseReference reads them.
type ImageSearch struct {
	Image   string              // what the user named; empty: nothing
	Program string              // path of this program, links resolved; empty: nothing comes with it
	Mirrors []string            // are asked in this order when there is no image on this computer
	Index   digest.Digest       // of the images that this skiff was built for, which mirrors have that name none; empty: it is not known
	Offline bool                // no network
	CAFile  string              // certificates to trust besides the system's
	Env     func(string) string // for proxies
}

// BesideProgram is where the guest image lies that came with the program at path: the folder of an image or of a layout.
func BesideProgram(path string) string {
	return filepath.Join(filepath.Dir(path), "..", "share", "skiff", "image")
}

// NamedImage is the folder of the guest image that s.Image names, or that came with the program, as far as it can be told without a
// download. It is empty when there is neither. The folder need not be there.
func NamedImage(home store.Home, s ImageSearch) string {
	named := s.named()
	if named == "" {
		return ""
	}
	reference, err := download.ParseReference(named)
	if err != nil {
		return named
	}
	if !reference.Network() {
		return BundledImage(home, reference.Path())
	}
	artifact, err := downloaded(home, reference.Index)
	if err != nil {
		return filepath.Join(home.Images(), "not-downloaded") // errors name the folder, and the URL may have a login
	}
	return filepath.Join(home.Images(), artifact.Image.Digest)
}

// named is what counts before all other places.
func (s ImageSearch) named() string {
	if s.Image == "" && s.Program != "" {
		if beside := BesideProgram(s.Program); exists(beside) {
			return beside
		}
	}
	return s.Image
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// downloaded describes the image of an index as far as it was downloaded.
func downloaded(home store.Home, index digest.Digest) (layout.Artifact, error) {
	if err := index.Validate(); err != nil {
		return layout.Artifact{}, err
	}
	fsys := os.DirFS(home.Downloads())
	content, err := fs.ReadFile(fsys, layout.BlobPath(index))
	if err != nil {
		return layout.Artifact{}, err
	}
	if digest.FromBytes(content) != index {
		return layout.Artifact{}, fmt.Errorf("%s is damaged", index)
	}
	parsed, err := layout.ParseIndex(content)
	if err != nil {
		return layout.Artifact{}, err
	}
	return imageOf(fsys, parsed)
}

// FindImage brings the guest image that a start with o needs to this computer, unless it is there. What the user named, and what came
// with the program, counts before the image that was built or loaded last; that before the mirrors, of which the first serves that has
// the right image. What a mirror served is what new clusters get from then on. Nothing is downloaded for a start that is refused anyway,
// nor for a dry run, which fails with fail.ImageMissing then.
//
// Failures with a known remedy: those of LoadBundle for a file or folder; fail.FlagInvalid for a place over the network without a
// digest; fail.ImageMissing, fail.DownloadFailed and fail.Offline, which say of each place why it did not serve.
func (m *Manager) FindImage(ctx context.Context, o StartOptions, s ImageSearch, sink Sink) error {
	places, err := s.places()
	if err != nil {
		return err
	}
	if named := s.named(); named != "" && !places[0].Network() {
		if o.DryRun {
			return nil
		}
		if err := places[0].checkIndex(); err != nil {
			return err
		}
		return m.useImage(ctx, places[0].Path(), sink)
	}
	needed, missing := m.needsImage(ctx, o, len(places) > 0)
	if !needed || o.DryRun && len(places) == 0 {
		return nil
	}
	if o.DryRun {
		return fail.New(fail.ImageMissing, "plan the start of cluster "+o.Profile, "the guest image has to be downloaded first").
			WithHint("Run the same command without --dry-run: it downloads the image.")
	}
	var misses []download.Miss
	if s.Image == "" {
		if s.Program != "" {
			misses = append(misses, download.Miss{Place: download.Place{Kind: download.Beside, At: BesideProgram(s.Program)}.String(), Err: errAbsent})
		}
		misses = append(misses, download.Miss{Place: download.Place{Kind: download.Built, At: m.Built}.String(), Err: missing})
	}
	var last error
	for _, place := range places {
		folder, err := m.obtain(ctx, place, s, sink)
		if err == nil {
			m.Built = folder
			if place.kind == download.Mirror {
				return images.Point(m.Home.Images(), filepath.Base(folder))
			}
			return nil
		}
		if ctx.Err() != nil || fail.Is(err, fail.HostDiskFull) {
			return err
		}
		last = err
		misses = append(misses, place.missed(err))
	}
	return notFound(o.Profile, s, misses, last)
}

// errAbsent is why a place on this computer has no image.
var errAbsent = errors.New("is not there")

// needsImage reports whether a start has to look for another guest image than the one in Built, and why that does not serve. The image
// of an older skiff counts for none where another place may have the right one. What else is wrong, the start says itself.
func (m *Manager) needsImage(ctx context.Context, o StartOptions, elsewhere bool) (needed bool, missing error) {
	built, err := images.ReadManifest(m.Built)
	lacking := fail.ImageMissing
	switch {
	case fail.Is(err, fail.ImageMissing):
		missing = errAbsent
	case err != nil || built.KubernetesVersion == bundled || !elsewhere:
		return false, nil // also where it is damaged
	case o.Wanted.KubernetesVersion != nil && CheckVersion(*o.Wanted.KubernetesVersion) != nil:
		return false, nil
	default:
		lacking, missing = fail.K8sVersionUnsupported, fmt.Errorf("has Kubernetes %s", built.KubernetesVersion)
	}
	o.DryRun = true
	_, err = m.Start(ctx, o, nil)
	return fail.Is(err, lacking), missing
}

// imagePlace is one of the places over which FindImage decides.
type imagePlace struct {
	download.Reference
	kind download.Kind
}

// places are what the user named or what came with the program, or else the mirrors. What cannot be believed is refused here, before
// anything is asked.
func (s ImageSearch) places() ([]imagePlace, error) {
	kind, texts, flag := download.Mirror, s.Mirrors, "image-mirrors"
	if named := s.named(); named != "" {
		kind, texts, flag = download.Named, []string{named}, "image"
	}
	var places []imagePlace
	var problems []error
	for _, text := range texts {
		reference, err := download.ParseReference(text)
		if err == nil && reference.Index == "" && kind == download.Mirror && reference.Network() {
			reference.Index = s.Index
		}
		if err == nil {
			err = reference.CheckTrust()
		}
		places, problems = append(places, imagePlace{reference, kind}), append(problems, fail.About(err, flag))
	}
	return places, errors.Join(problems...)
}

// checkIndex holds a folder or a bundle to the digest that its place was given with.
func (p imagePlace) checkIndex() error {
	if p.Index == "" {
		return nil
	}
	fsys, done, err := layout.Open(p.Path())
	if err != nil {
		return ofBundle(p.Path(), err)
	}
	defer func() { _ = done() }()
	content, err := fs.ReadFile(fsys, v1.ImageIndexFile)
	if err != nil {
		return err
	}
	if got := digest.FromBytes(content); got != p.Index {
		return fail.New(fail.ChecksumMismatch, "use the guest images in "+p.Path(), "their index has the digest %s, not %s", got, p.Index).
			WithHint("They are of another release: correct the digest, or use other images.")
	}
	return nil
}

// missed says why a place did not serve.
func (p imagePlace) missed(err error) download.Miss {
	if asked, ok := errors.AsType[*download.MissesError](err); ok && len(asked.Misses) > 0 {
		err = asked.Misses[0].Err // there is one source
	} else {
		err = fmt.Errorf("did not serve: %w", err)
	}
	return download.Miss{Place: download.Place{Kind: p.kind, At: p.Source}.String(), Err: err}
}

// notFound is the error when no place has a guest image. last is that of the last place that was asked, nil when there was none.
func notFound(profile string, s ImageSearch, misses []download.Miss, last error) error {
	op, cause := "find a guest image for cluster "+profile, &download.MissesError{Misses: misses}
	known, ok := errors.AsType[*fail.Error](last)
	switch {
	case last == nil:
		return fail.New(fail.ImageMissing, op, "%w", cause).WithNext(images.Remake).
			WithHint("Name one with --image, load a bundle with `skiff bundle load FILE`, set image-mirrors to where there is one, or build it.")
	case len(misses) == 1 && ok: // the only place that counts
		failure := fail.New(known.ID, op, "%w", cause)
		failure.Hint, failure.Next = known.Hint, known.Next
		return failure
	case s.Offline:
		return fail.New(fail.Offline, op, "%w", cause)
	}
	return fail.New(fail.DownloadFailed, op, "%w", cause)
}

// PullImage makes the guest image at a place over the network, which is written with its digest, the one that new clusters get. What is
// there already is not downloaded, and a failure changes nothing. Of s it takes how places are asked.
//
// Failures with a known remedy: fail.FlagInvalid (no such place, or no digest), fail.DownloadFailed, fail.Offline, fail.HostDiskFull,
// fail.K8sVersionUnsupported.
func (m *Manager) PullImage(ctx context.Context, place string, s ImageSearch, sink Sink) (Bundle, error) {
	reference, err := download.ParseReference(place)
	if err == nil {
		err = reference.CheckTrust()
	}
	if err != nil {
		return Bundle{}, err
	}
	folder, err := m.obtain(ctx, imagePlace{reference, download.Named}, s, sink)
	if err != nil {
		return Bundle{}, err
	}
	manifest, err := images.ReadManifest(folder)
	if err != nil {
		return Bundle{}, err
	}
	return Bundle{
		Image: manifest.Digest, KubernetesVersion: manifest.KubernetesVersion, Architecture: manifest.Architecture, File: reference.String(), Folder: folder,
	}, images.Point(m.Home.Images(), filepath.Base(folder))
}

// obtain brings the image of one place to the folder of images, and returns its folder there.
func (m *Manager) obtain(ctx context.Context, place imagePlace, s ImageSearch, sink Sink) (string, error) {
	if !place.Network() {
		if err := place.checkIndex(); err != nil {
			return "", err
		}
		loaded, err := m.loadBundle(ctx, place.Path(), sink)
		return loaded.Folder, err
	}
	d, err := download.New(download.Config{
		Dir: m.Home.Downloads(), Sources: []string{place.Source}, Offline: s.Offline, CAFile: s.CAFile, Env: s.Env,
		Keychain: authn.DefaultKeychain, Holder: m.holder(),
	})
	if err != nil {
		return "", err
	}
	var artifact layout.Artifact
	const steps = 2
	step := Event{Step: "download", Index: 1, Steps: steps, Text: "Download the guest image of Kubernetes " + bundled + " from " + place.String()}
	err = inStep(step, sink, func() error {
		artifact, err = m.fetch(ctx, d, place.Index, progress(step, sink), func(text string) {
			emit(sink, Event{Step: step.Step, Text: text}, Info)
		})
		return err
	})
	if err != nil {
		return "", err
	}
	folder := filepath.Join(m.Home.Images(), artifact.Image.Digest)
	step = Event{Step: "assemble", Index: steps, Steps: steps, Text: "Put the guest image together"}
	return folder, inStep(step, sink, func() error {
		return m.assemble(ctx, os.DirFS(m.Home.Downloads()), artifact, folder, step, sink)
	})
}

// fetch downloads what an image is made of, unless the image is there. One process at a time does: another one then finds it done.
func (m *Manager) fetch(ctx context.Context, d *download.Downloader, index digest.Digest, report func(done, total int64), say func(string)) (layout.Artifact, error) {
	release, err := store.Lock(ctx, m.Home.DownloadsLock(), m.holder(), func(other store.Holder) {
		say(fmt.Sprintf("Waiting for %s, which downloads a guest image", other))
	})
	if err != nil {
		return layout.Artifact{}, store.NoSpace("download the guest image", err)
	}
	defer release()
	artifact, err := pull.Describe(ctx, d, pull.Request{Index: index, Architecture: runtime.GOARCH, KubernetesVersion: bundled, Blobs: m.Home.Downloads()})
	if err != nil || images.Verify(ctx, filepath.Join(m.Home.Images(), artifact.Image.Digest)) == nil {
		return artifact, err
	}
	return artifact, d.Fetch(ctx, artifact.Layers, func(p download.Progress) { report(p.Done, p.Total) })
}

// assemble puts an image together from blobs, in its folder among the images.
func (m *Manager) assemble(ctx context.Context, blobs fs.FS, artifact layout.Artifact, folder string, step Event, sink Sink) error {
	release, err := store.Lock(ctx, m.Home.BaseLock(), m.holder(), func(other store.Holder) {
		emit(sink, Event{Step: step.Step, Text: fmt.Sprintf("Waiting for %s, which uses the guest images", other)}, Info)
	})
	if err != nil {
		return store.NoSpace("put the guest image together", err)
	}
	defer release()
	if err := errors.Join(store.Folder(m.Home.Images()), layout.Sweep(m.Home.Images())); err != nil {
		return err
	}
	return layout.Assemble(ctx, blobs, artifact, folder, progress(step, sink))
}

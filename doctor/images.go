package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/machine"
)

// images reads every installed guest image, and the built one that new clusters will get where that is none of these, and
// holds each to its digests. It looks for installations that were cut off, too.
func (h Host) images(ctx context.Context) []Finding {
	entries, err := os.ReadDir(h.Home.Base())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return []Finding{unknown("%v.", err)}
	}
	findings := h.lostImages(ctx)
	var installed []string
	for _, entry := range entries {
		dir := filepath.Join(h.Home.Base(), entry.Name())
		switch {
		case halfInstalled(entry.Name()):
			findings = append(findings, h.halfImage(dir))
		case entry.IsDir():
			installed = append(installed, dir)
		}
	}
	built := make(chan Finding, 1) // an image takes seconds, so that the two kinds are read at once
	go func() { built <- h.builtImage(ctx, installed) }()
	for _, dir := range installed {
		if f, wrong := h.image(ctx, dir); wrong {
			findings = append(findings, f)
		}
	}
	next := <-built
	if next.Level != drivers.Good || len(installed) == 0 && len(findings) == 0 {
		return append(findings, next)
	}
	if len(findings) == 0 {
		return []Finding{good("%s%s", describe(len(installed), "installed guest image is", "installed guest images are", "as the manifest says"), next.Text)}
	}
	return findings
}

// lostImages are those that clusters are layered on and that are not there at all.
func (h Host) lostImages(ctx context.Context) []Finding {
	var findings []Finding
	seen := map[string]bool{}
	for _, cluster := range h.described() {
		dir := h.Home.BaseImage(cluster.config.Image)
		if cluster.err != nil || !cluster.config.Provisioned || seen[dir] {
			continue
		}
		seen[dir] = true
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			if f, wrong := h.image(ctx, dir); wrong {
				findings = append(findings, f)
			}
		}
	}
	return findings
}

// halfInstalled reports whether a folder of images is what images.Install leaves when it is cut off.
func halfInstalled(name string) bool {
	return strings.HasSuffix(name, ".partial") || strings.HasSuffix(name, ".old")
}

func (h Host) halfImage(dir string) Finding {
	return warning("rm -r "+machine.Quote(dir), "%s is left over from an interrupted installation; the next start continues it.", dir).
		mended(func(context.Context) (string, error) {
			release, err := h.lock(h.Home.BaseLock())
			if err != nil {
				return "", err
			}
			defer release()
			return fmt.Sprintf("Removed the half installed image %s.", dir), os.RemoveAll(dir)
		})
}

// image says what is wrong with an installed image.
func (h Host) image(ctx context.Context, dir string) (f Finding, wrong bool) {
	err := images.Reread(ctx, dir)
	if err == nil {
		return Finding{}, false
	}
	if !fail.Is(err, fail.ChecksumMismatch) && !fail.Is(err, fail.ImageMissing) {
		return unknown("%v.", err), true
	}
	users := h.users(filepath.Base(dir))
	if len(users) == 0 {
		return failure("rm -r "+machine.Quote(dir), "The guest image in %s is not as its manifest says (%v), and no cluster uses it.", dir, reason(err)).
			mended(func(context.Context) (string, error) { return h.removeImage(dir) }), true
	}
	f = failure(images.Remake, "The guest image in %s, which %s, is not as its manifest says: %v.", dir, usedBy(users), reason(err))
	if built, err := images.ReadManifest(h.Built); err == nil && h.Home.BaseImage(built.Digest) == dir {
		f = f.mended(func(ctx context.Context) (string, error) { return h.reinstall(ctx, dir) })
	}
	return f, true
}

func (h Host) removeImage(dir string) (string, error) {
	release, err := h.lock(h.Home.BaseLock())
	if err != nil {
		return "", err
	}
	defer release()
	if users := h.users(filepath.Base(dir)); len(users) > 0 {
		return "", fmt.Errorf("it is used by now: it %s", usedBy(users))
	}
	return fmt.Sprintf("Removed the broken image %s, which no cluster used.", dir), os.RemoveAll(dir)
}

// reinstall puts the image there again, from the folder that it came from.
func (h Host) reinstall(ctx context.Context, dir string) (string, error) {
	release, err := h.lock(h.Home.BaseLock())
	if err != nil {
		return "", err
	}
	defer release()
	if err := images.Forget(dir); err != nil {
		return "", err
	}
	return fmt.Sprintf("Installed the image in %s again.", dir), images.Install(ctx, h.Built, dir, nil)
}

// users are the clusters that are layered on the image with that digest.
func (h Host) users(digest string) []string {
	var users []string
	for _, cluster := range h.described() {
		// A cluster whose file cannot be read may use any image.
		if cluster.err != nil || filepath.Base(h.Home.BaseImage(cluster.config.Image)) == digest {
			users = append(users, cluster.profile)
		}
	}
	return users
}

func usedBy(users []string) string {
	if len(users) == 1 {
		return "cluster " + users[0] + " uses"
	}
	return "clusters " + strings.Join(users, ", ") + " use"
}

// builtImage looks at the image that the next new cluster gets. One that is installed has been looked at there: then it is
// good, with nothing to say.
func (h Host) builtImage(ctx context.Context, installed []string) Finding {
	if built, err := images.ReadManifest(h.Built); err == nil && slices.Contains(installed, h.Home.BaseImage(built.Digest)) {
		return good("")
	}
	switch err := images.Reread(ctx, h.Built); {
	case err == nil && len(installed) == 0:
		return good("The guest image in %s is as its manifest says; the first start installs it.", h.Built)
	case err == nil:
		return good(" So is the one in %s, which the next new cluster installs.", h.Built)
	case fail.Is(err, fail.ImageMissing) && len(installed) == 0:
		return failure(images.Remake, "There is no guest image, neither installed nor in %s.", h.Built)
	case fail.Is(err, fail.ImageMissing):
		return warning(images.Remake, "There is no complete guest image in %s: existing clusters work, and new ones cannot be created.", h.Built)
	case fail.Is(err, fail.ChecksumMismatch):
		return failure(images.Remake, "The guest image in %s, which the next new cluster installs, is not as its manifest says: %v.", h.Built, reason(err))
	default:
		return unknown("%v.", err)
	}
}

package download

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Kind says what a place is to its user.
type Kind string

// The kinds of places, in the order in which they are looked at.
const (
	Named     Kind = "--image"   // a folder, a file or a URL
	Beside    Kind = "program"   // came with the program, in a package or an archive
	Installed Kind = "installed" // clusters use it, or have used it
	Built     Kind = "built"     // make image left it
	Cached    Kind = "cache"     // blobs of downloads
	Mirror    Kind = "mirror"    // the setting image-mirrors
	Release   Kind = "release"   // where releases are published
)

// Place is where a guest image may be.
type Place struct {
	Kind Kind
	At   string // a path, or a URL that may have a login: print the Place, not this
	Skip string // why nobody looks there, as the end of a sentence; empty: somebody does
}

// String is the place for people, without logins.
func (p Place) String() string {
	text := fmt.Sprintf("%s: %s", p.Kind, clean(p.At))
	if p.Skip != "" {
		text += " (" + p.Skip + ")"
	}
	return text
}

// Places are in the order in which they are looked at.
type Places []Place

// String has a line for each place.
func (p Places) String() string {
	var text strings.Builder
	for _, place := range p {
		fmt.Fprintln(&text, place)
	}
	return text.String()
}

// Sources are those of Config: mirrors and the release. Also what is not to be asked is among them, so that an error names it.
func (p Places) Sources() []string {
	var sources []string
	for _, place := range p {
		if place.Kind == Mirror || place.Kind == Release || place.Kind == Named && overNetwork(place.At) {
			sources = append(sources, place.At)
		}
	}
	return sources
}

// Where has what decides where images are looked for. Everything may be empty.
type Where struct {
	Image     string   // --image or SKIFF_IMAGE: a folder, a file or a URL
	Program   string   // path of the program that runs, links resolved
	Installed string   // folder of installed images
	Built     string   // folder that make image leaves its image in
	Cache     string   // folder of a Config
	Mirrors   []string // sources in their order
	Release   string   // source; empty as long as nothing is published
	Offline   bool     // no network
}

// Places returns where an image is looked for; the first place that has it, and whose image is the right one, wins. What the user names
// is the only place: another image in its stead would be a surprise. What costs nothing comes before what costs a download.
func (w Where) Places() Places {
	if w.Image != "" {
		return Places{w.place(Named, w.Image)}
	}
	var places Places
	if w.Program != "" {
		places = append(places, w.place(Beside, filepath.Join(filepath.Dir(w.Program), "..", "share", "skiff", "image")))
	}
	for _, place := range []Place{w.place(Installed, w.Installed), w.place(Built, w.Built), w.place(Cached, w.Cache)} {
		if place.At != "" {
			places = append(places, place)
		}
	}
	for _, mirror := range w.Mirrors {
		places = append(places, w.place(Mirror, mirror))
	}
	if w.Release != "" {
		places = append(places, w.place(Release, w.Release))
	}
	return places
}

func (w Where) place(kind Kind, at string) Place {
	place := Place{Kind: kind, At: at}
	if w.Offline && overNetwork(at) {
		place.Skip = "not asked: --offline or SKIFF_OFFLINE forbids the network"
	}
	return place
}

// overNetwork reports whether a source needs the network.
func overNetwork(at string) bool {
	scheme, _, isURL := strings.Cut(at, "://")
	return isURL && scheme != "file"
}

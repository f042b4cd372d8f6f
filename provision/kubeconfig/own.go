package kubeconfig

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Address returns the address of a cluster's API server, if server is the URL of one: 127.77.N.1 and the usual port. All
// clusters have theirs there, so it is the mark by which an entry is known as skiff's when its cluster is gone, or has new
// keys or another address.
func Address(server string) (netip.AddrPort, bool) {
	parsed, err := url.Parse(server)
	if err != nil || parsed.Scheme != "https" {
		return netip.AddrPort{}, false
	}
	address, err := netip.ParseAddrPort(parsed.Host)
	if err != nil || address.Port() != 6443 || !address.Addr().Is4() {
		return netip.AddrPort{}, false
	}
	bytes := address.Addr().As4()
	if bytes[0] != 127 || bytes[1] != 77 || bytes[3] != 1 {
		return netip.AddrPort{}, false
	}
	return address, true
}

// Foreign is what the user's kubeconfig has of a name that is not skiff's to change.
type Foreign struct {
	Name        string
	File        string   // the first file that has some of it
	Kinds       []string // those of "cluster", "user" and "context" that are foreign
	Server      string   // where the foreign cluster is; may be empty
	ContextOnly bool     // nothing but a context, which kubectl can rename
	Renamed     string   // a name that no context has
}

// Error says what is there. It is an error so that Merge can return it.
func (f *Foreign) Error() string {
	last := len(f.Kinds) - 1
	text := fmt.Sprintf("%s has a %s %q that is not skiff's", f.File, f.Kinds[last], f.Name)
	if last > 0 {
		text = fmt.Sprintf("%s has a %s and %s %q that are not skiff's", f.File, strings.Join(f.Kinds[:last], ", "), f.Kinds[last], f.Name)
	}
	if f.Server != "" {
		text += " (" + f.Server + ")"
	}
	return text
}

// Conflict returns a *Foreign when an entry that Merge would have to replace is not skiff's, and
// what Look returns when the files cannot be read. own may be nil, for a cluster that has no kubeconfig yet.
func Conflict(list, name string, own []byte) error {
	files, err := load(list)
	if err != nil {
		return err
	}
	return newOwner(files, name, own).conflict()
}

// owner tells entries of one name that are skiff's from those that are not.
type owner struct {
	files []*file
	name  string
	want  entry // of the cluster's own kubeconfig; nil when there is none, or none that can be read
}

func newOwner(files []*file, name string, own []byte) owner {
	o := owner{files: files, name: name}
	if want, err := entryOf(own, name); err == nil {
		o.want = want
	}
	return o
}

// owns reports whether the item of that kind in f is skiff's. Only a cluster has a mark; a user or context is whose the
// cluster of the same name is, that of its own file before that of another.
func (o owner) owns(f *file, kind kind) bool {
	value := get(f.item(kind, o.name), kind.value)
	if absent(value) || len(value.Content) == 0 {
		return true // it says nothing, so there is nothing to lose
	}
	cluster, user := kinds()[0], kinds()[1]
	if kind == cluster {
		return o.marked(value)
	}
	if kind != user && text(get(value, "cluster")) != o.name {
		return false
	}
	if item := o.item(f, cluster); item != nil {
		return o.marked(get(item, cluster.value))
	}
	if kind != user { // it leads nowhere, so all that may be worth something is its user
		item := o.item(f, user)
		return text(get(value, "user")) == o.name && (item == nil || o.isWanted(item, user))
	}
	return o.isWanted(f.item(kind, o.name), kind)
}

// item is that of f, or else of the first file that has one.
func (o owner) item(f *file, kind kind) *yaml.Node {
	if item := f.item(kind, o.name); item != nil {
		return item
	}
	if f = having(o.files, kind, o.name); f != nil {
		return f.item(kind, o.name)
	}
	return nil
}

func (o owner) isWanted(item *yaml.Node, kind kind) bool {
	return o.want != nil && same(item, kind, o.want)
}

// marked reports whether a cluster is skiff's: it is where clusters of skiff's are, or has the authority of this one.
func (o owner) marked(cluster *yaml.Node) bool {
	if absent(cluster) || len(cluster.Content) == 0 {
		return true
	}
	if _, ok := Address(text(get(cluster, "server"))); ok {
		return true
	}
	if o.want == nil {
		return false
	}
	own := o.want[kinds()[0]]
	const authority = "certificate-authority-data"
	ca := plain(get(own, authority))
	return ca != "" && ca == plain(get(cluster, authority)) || text(get(own, "server")) == text(get(cluster, "server"))
}

// plain is Base64 without the line breaks that some write into it.
func plain(node *yaml.Node) string { return strings.Join(strings.Fields(text(node)), "") }

// conflict returns a *Foreign, or nil.
func (o owner) conflict() error {
	foreign := Foreign{Name: o.name}
	for _, kind := range kinds() {
		f := having(o.files, kind, o.name)
		if f == nil || o.owns(f, kind) {
			continue
		}
		if foreign.File == "" {
			foreign.File = f.path
		}
		foreign.Kinds = append(foreign.Kinds, kind.value)
		if kind == kinds()[0] {
			foreign.Server = text(get(get(f.item(kind, o.name), kind.value), "server"))
		}
	}
	if foreign.Kinds == nil {
		return nil
	}
	foreign.ContextOnly = slices.Equal(foreign.Kinds, []string{kinds()[2].value})
	foreign.Renamed = o.name + "-old"
	for n := 2; having(o.files, kinds()[2], foreign.Renamed) != nil; n++ {
		foreign.Renamed = fmt.Sprintf("%s-old%d", o.name, n)
	}
	return &foreign
}

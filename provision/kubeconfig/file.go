package kubeconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"go.yaml.in/yaml/v3"
	"k8s.io/client-go/tools/clientcmd"
)

// kind is a list in a kubeconfig, and the key of the value in each of its items.
type kind struct{ list, value string }

func kinds() []kind {
	return []kind{{"clusters", "cluster"}, {"users", "user"}, {"contexts", "context"}}
}

// entry is one cluster: a YAML mapping for each kind.
type entry map[kind]*yaml.Node

// file is one kubeconfig. root is its mapping; document holds it.
type file struct {
	path           string
	exists         bool
	changed        bool
	document, root *yaml.Node
}

func loadPaths(paths []string) ([]*file, error) {
	files := make([]*file, len(paths))
	for i, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, unreadable(path, err)
		}
		if files[i], err = parse(path, content); err != nil {
			return nil, unreadable(path, err)
		}
		files[i].exists = content != nil
	}
	return files, nil
}

// parse refuses what kubectl cannot read, and the few shapes that cannot be edited without a guess.
func parse(path string, content []byte) (*file, error) {
	if _, err := clientcmd.Load(content); err != nil {
		return nil, err
	}
	f := &file{path: path, document: &yaml.Node{}}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	switch err := decoder.Decode(f.document); {
	case errors.Is(err, io.EOF):
		f.document = &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}}}
	case err != nil:
		return nil, err
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one YAML document")
	}
	f.root = f.document.Content[0]
	spellNulls(f.document)
	if f.root.Kind == yaml.ScalarNode && f.root.Tag == "!!null" {
		*f.root = yaml.Node{Kind: yaml.MappingNode}
	}
	if f.root.Kind != yaml.MappingNode {
		return nil, errors.New("it is not a YAML mapping")
	}
	for _, kind := range kinds() {
		if err := checkList(get(f.root, kind.list), kind); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func checkList(list *yaml.Node, kind kind) error {
	if absent(list) {
		return nil
	}
	if list.Kind != yaml.SequenceNode {
		return fmt.Errorf("%s is not a plain list", kind.list)
	}
	for _, item := range list.Content {
		if item.Kind != yaml.MappingNode {
			return fmt.Errorf("%s holds something that is not a plain mapping", kind.list)
		}
		if value := get(item, kind.value); !absent(value) && value.Kind != yaml.MappingNode {
			return fmt.Errorf("%s holds a %s that is not a plain mapping", kind.list, kind.value)
		}
	}
	return nil
}

// entryOf takes the three parts of the current context out of own, and gives them the name.
func entryOf(own []byte, name string) (entry, error) {
	f, err := parse("", own)
	if err != nil {
		return nil, fmt.Errorf("read the cluster's own kubeconfig: %w", err)
	}
	context := get(f.item(kinds()[2], f.current()), "context")
	parts := entry{}
	for _, kind := range kinds()[:2] {
		parts[kind] = get(f.item(kind, text(get(context, kind.value))), kind.value)
		if absent(parts[kind]) {
			return nil, fmt.Errorf("read the cluster's own kubeconfig: its current context %q has no %s", f.current(), kind.value)
		}
	}
	parts[kinds()[2]] = mapping("cluster", name, "user", name)
	return parts, nil
}

// item returns the mapping with that name, or nil.
func (f *file) item(kind kind, name string) *yaml.Node {
	list := get(f.root, kind.list)
	if absent(list) {
		return nil
	}
	for _, item := range list.Content {
		if text(get(item, "name")) == name {
			return item
		}
	}
	return nil
}

// same reports whether item holds what want says. A context may hold more, such as a namespace.
func same(item *yaml.Node, kind kind, want entry) bool {
	if item == nil {
		return false
	}
	got := get(item, kind.value)
	if absent(got) {
		return false
	}
	if kind.list != "contexts" {
		return equal(meaning(got), meaning(want[kind]))
	}
	return text(get(got, "cluster")) == text(get(want[kind], "cluster")) && text(get(got, "user")) == text(get(want[kind], "user"))
}

// set adds or replaces an item.
func (f *file) set(kind kind, name string, want entry) error {
	f.begin()
	item := f.item(kind, name)
	if item == nil {
		list := get(f.root, kind.list)
		if absent(list) {
			list = &yaml.Node{Kind: yaml.SequenceNode}
			put(f.root, kind.list, list)
		}
		if len(list.Content) == 0 {
			list.Style = 0 // not "[]"
		}
		item = mapping("name", name)
		list.Content = append(list.Content, item)
	}
	value := get(item, kind.value)
	if kind.list != "contexts" || absent(value) {
		put(item, kind.value, want[kind])
		return nil
	}
	put(value, "cluster", get(want[kind], "cluster"))
	put(value, "user", get(want[kind], "user"))
	return nil
}

func (f *file) remove(kind kind, name string) {
	list := get(f.root, kind.list)
	if f.item(kind, name) == nil {
		return
	}
	f.changed = true
	var kept []*yaml.Node
	for _, item := range list.Content {
		if text(get(item, "name")) != name {
			kept = append(kept, item)
		}
	}
	list.Content = kept
	if len(kept) == 0 {
		list.Style = yaml.FlowStyle
	}
}

func (f *file) current() string { return text(get(f.root, "current-context")) }

func (f *file) setCurrent(name string) {
	f.begin()
	put(f.root, "current-context", scalar(name))
}

// begin marks the file as changed; a new one gets its header.
func (f *file) begin() {
	f.changed = true
	if len(f.root.Content) == 0 {
		f.root.Style = 0
		put(f.root, "apiVersion", scalar("v1"))
		put(f.root, "kind", scalar("Config"))
	}
}

// write replaces the file if it was changed. Where the path is a symbolic link, its target is replaced.
func (f *file) write() error {
	if !f.changed {
		return nil
	}
	var content bytes.Buffer
	encoder := yaml.NewEncoder(&content)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent() // as kubectl writes it
	if err := encoder.Encode(f.document); err != nil {
		return notWritable(f.path, err)
	}
	if err := verify(content.Bytes(), f.document); err != nil {
		return unreadable(f.path, err)
	}
	path, err := resolve(f.path)
	if err != nil {
		return notWritable(f.path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return notWritable(f.path, err)
	}
	// An existing wider mode is not taken over: the file now holds a key.
	pending, err := renameio.NewPendingFile(path, renameio.WithStaticPermissions(0o600))
	if err != nil {
		return notWritable(f.path, err)
	}
	defer pending.Cleanup()
	if _, err := pending.Write(content.Bytes()); err != nil {
		return notWritable(f.path, err)
	}
	if err := pending.CloseAtomicallyReplace(); err != nil {
		return notWritable(f.path, err)
	}
	return nil
}

// verify refuses a text that kubectl could not read, or that does not mean the document it was made of: strange YAML is
// better left to its owner.
func verify(content []byte, document *yaml.Node) error {
	if _, err := clientcmd.Load(content); err != nil {
		return fmt.Errorf("the changed file would not be readable: %w", err)
	}
	var again yaml.Node
	if err := yaml.Unmarshal(content, &again); err != nil || !equal(meaning(&again), meaning(document)) {
		return errors.New("its YAML is too unusual to be changed without harm")
	}
	return nil
}

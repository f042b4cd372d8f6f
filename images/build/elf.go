package build

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// library is a shared library: where programs look for it, and the file on the host that has its content.
type library struct{ path, file string }

// needed returns the shared libraries, the dynamic loader among them, that the program at path inside root needs, sorted by path.
func needed(root, path string) ([]library, error) {
	found := map[string]library{}
	if err := addNeeded(root, filepath.Join(root, path), found); err != nil {
		return nil, err
	}
	var list []library
	for _, l := range found {
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b library) int { return strings.Compare(a.path, b.path) })
	return list, nil
}

func addNeeded(root, file string, found map[string]library) error {
	binary, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("read %q: %w", file, err)
	}
	defer binary.Close()
	names, err := binary.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("read %q: %w", file, err)
	}
	if section := binary.Section(".interp"); section != nil {
		content, err := section.Data()
		if err != nil {
			return err
		}
		// First: libc names the loader too, without its folder, and the kernel looks for it in this one alone.
		names = append([]string{strings.TrimRight(string(content), "\x00")}, names...)
	}
	for _, name := range names {
		if _, ok := found[filepath.Base(name)]; ok {
			continue
		}
		l, err := find(root, name)
		if err != nil {
			return fmt.Errorf("%q needs %w", file, err)
		}
		found[filepath.Base(name)] = l
		if err := addNeeded(root, l.file, found); err != nil {
			return err
		}
	}
	return nil
}

// find looks for the library in Debian's folders of root. The loader has its absolute path in the program; containers have no
// link from /lib64 to /usr/lib64, so that it keeps the path by which the kernel will look for it.
func find(root, name string) (library, error) {
	if filepath.IsAbs(name) {
		file, err := filepath.EvalSymlinks(filepath.Join(root, "usr", name))
		return library{path: name, file: file}, err
	}
	for _, dir := range []string{"/usr/lib/x86_64-linux-gnu", "/usr/lib"} {
		file, err := filepath.EvalSymlinks(filepath.Join(root, dir, name))
		if err == nil {
			return library{path: filepath.Join(dir, name), file: file}, nil
		}
		if !os.IsNotExist(err) {
			return library{}, err
		}
	}
	return library{}, fmt.Errorf("%s, which is not in the root file system", name)
}

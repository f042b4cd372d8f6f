package build

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// kube-proxy's image must have the names of protocols: see nftEntries.
func TestKubeProxyHasTheNamesOfProtocols(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	writeProgram(t, filepath.Join(root, "usr/sbin/nft"))
	if _, err := nftEntries(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without /etc/protocols: got %v, want %v", err, fs.ErrNotExist)
	}
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/protocols"), []byte("tcp 6 TCP\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	entries, err := nftEntries(root)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, e := range entries {
		paths = append(paths, e.path)
	}
	if want := []string{"/etc/protocols", "/usr/sbin/nft"}; !slices.Equal(paths, want) {
		t.Errorf("got %q, want %q", paths, want)
	}
}

// writeProgram writes the smallest file that is an ELF program: a header, and no sections.
func writeProgram(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
	}
	if err := errors.Join(binary.Write(file, binary.LittleEndian, &header), file.Close()); err != nil {
		t.Fatal(err)
	}
}

package qemu

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

const testMemory = 5<<20 + 4096 // not a whole number of chunks

// memoryFile is a sparse file with a few pages in it.
func memoryFile(t *testing.T, pages map[int64]byte) *os.File {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(t.TempDir(), "memory"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	if err := file.Truncate(testMemory); err != nil {
		t.Fatal(err)
	}
	for page, fill := range pages {
		put(t, file, page*memoryPage, bytes.Repeat([]byte{fill}, memoryPage))
	}
	return file
}

func put(t *testing.T, file *os.File, at int64, content []byte) {
	t.Helper()
	if _, err := file.WriteAt(content, at); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, file *os.File) []byte {
	t.Helper()
	all, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestMemory(t *testing.T) {
	t.Parallel()
	guest := memoryFile(t, map[int64]byte{0: 1, 7: 0, 300: 2, 301: 3, testMemory/memoryPage - 1: 4})
	kept := memoryFile(t, nil)
	sums, written, err := copyMemory(t.Context(), kept, guest, testMemory)
	if err != nil || written != 4*memoryPage {
		t.Fatalf("the first copy wrote %d bytes (%v), want the four pages that are not empty", written, err)
	}
	// The guest goes on: a page changes, one is cleared, one is new.
	put(t, guest, 300*memoryPage+5, []byte{9})
	put(t, guest, 0, make([]byte, memoryPage))
	put(t, guest, 900*memoryPage, []byte{8})
	again, written, err := copyMemory(t.Context(), kept, guest, testMemory)
	if err != nil || written != 3*memoryPage {
		t.Errorf("the second copy wrote %d bytes (%v), want three pages", written, err)
	}
	if bytes.Equal(sums.bytes(), again.bytes()) {
		t.Error("the sums of two memories are the same")
	}
	if !bytes.Equal(content(t, kept), content(t, guest)) {
		t.Error("the copy differs from the memory")
	}
	for name, to := range map[string]*os.File{
		"a new memory":                           memoryFile(t, nil),
		"one that has other pages, and the same": memoryFile(t, map[int64]byte{0: 1, 300: 9, 600: 5, 900: 8}),
	} {
		if err := loadMemory(t.Context(), to, kept, testMemory, sumsOf(again.bytes())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(content(t, to), content(t, guest)) {
			t.Errorf("%s: what was loaded differs from the memory", name)
		}
	}
}

func TestDamagedMemory(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*testing.T, *os.File){
		"a bit is flipped":           func(t *testing.T, f *os.File) { put(t, f, 300*memoryPage+77, []byte{2 ^ 16}) },
		"a page is lost":             func(t *testing.T, f *os.File) { put(t, f, 300*memoryPage, make([]byte, memoryPage)) },
		"an empty page is not empty": func(t *testing.T, f *os.File) { put(t, f, 600*memoryPage, []byte{1}) },
		"it is too short":            func(t *testing.T, f *os.File) { _ = f.Truncate(testMemory - memoryPage) },
		"it is too long":             func(t *testing.T, f *os.File) { _ = f.Truncate(testMemory + memoryPage) },
		"its data was never written": func(t *testing.T, f *os.File) { _ = errors.Join(f.Truncate(0), f.Truncate(testMemory)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept := memoryFile(t, nil)
			sums, _, err := copyMemory(t.Context(), kept, memoryFile(t, map[int64]byte{300: 2}), testMemory)
			if err != nil {
				t.Fatal(err)
			}
			spoil(t, kept)
			err = loadMemory(t.Context(), memoryFile(t, nil), kept, testMemory, sums)
			if _, damaged := errors.AsType[*damageError](err); !damaged {
				t.Errorf("got error %v, want one that says that it is damaged", err)
			}
		})
	}
}

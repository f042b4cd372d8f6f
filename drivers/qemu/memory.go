package qemu

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// The guest's memory is an open file that QEMU maps shared. So it can be read while the guest runs, and be there before
// QEMU is. How it is had depends on the system: see newMemory.

const (
	memoryChunk = 512 << 10 // bytes; what is summed, compared and copied at once: it fits a processor's own cache
	memoryPage  = 4096      // bytes; empty ones are not written
)

// memorySums has a CRC-32C for each chunk of a memory. It finds every chunk with one flipped bit, and misses one damaged in
// another way with a chance of one in four thousand million.
type memorySums []uint32

// copyMemory makes to, which must be empty or hold an earlier copy, the same as from, and returns how many bytes it had to
// write. What is empty in from takes no space in a new copy. While from changes the copy is of no moment in particular;
// called again, it copies what has changed since.
func copyMemory(ctx context.Context, to, from *os.File, size int64) (sums memorySums, written int64, err error) {
	if err := to.Truncate(size); err != nil {
		return nil, 0, err
	}
	busy, err := dataChunks(from, size)
	if err != nil {
		return nil, 0, err
	}
	known, err := dataChunks(to, size)
	if err != nil {
		return nil, 0, err
	}
	for i := range busy {
		busy[i] = busy[i] || known[i]
	}
	sums = emptyMemory(size)
	var total atomic.Int64
	err = eachChunk(ctx, size, busy, func(i int, b *buffers) error {
		at, length := chunkAt(i, size)
		want, have := b.one[:length], b.empty[:length]
		if err := readAll(from, want, at); err != nil {
			return err
		}
		if known[i] {
			have = b.two[:length]
			if err := readAll(to, have, at); err != nil {
				return err
			}
		}
		sums[i] = crc32.Checksum(want, b.table)
		if bytes.Equal(want, have) {
			return nil
		}
		n, err := writeChanged(to, at, want, have)
		total.Add(n)
		return err
	})
	return sums, total.Load(), err
}

// loadMemory makes to the same as a copy of which sums are known. What to has already of it is not written again: a page that is
// there costs a tenth of a new one. A copy that is not the one that was summed gives *damageError.
func loadMemory(ctx context.Context, to, from *os.File, size int64, sums memorySums) error {
	if info, err := from.Stat(); err != nil || info.Size() != size {
		return &damageError{what: fmt.Sprintf("the memory has not the %d bytes that it should have", size)}
	}
	busy, err := dataChunks(from, size)
	if err != nil {
		return err
	}
	if len(sums) != len(busy) {
		return &damageError{what: fmt.Sprintf("there are %d sums for %d pieces of memory", len(sums), len(busy))}
	}
	known, err := dataChunks(to, size)
	if err != nil {
		return err
	}
	for i, empty := range emptyMemory(size) {
		busy[i] = busy[i] || known[i] || sums[i] != empty
	}
	return eachChunk(ctx, size, busy, func(i int, b *buffers) error {
		at, length := chunkAt(i, size)
		content := b.one[:length]
		if err := readAll(from, content, at); err != nil {
			return err
		}
		if crc32.Checksum(content, b.table) != sums[i] {
			return &damageError{what: fmt.Sprintf("the memory differs from what was saved at byte %d or after", at)}
		}
		have := b.empty[:length]
		if known[i] {
			have = b.two[:length]
			if err := readAll(to, have, at); err != nil {
				return err
			}
		}
		_, err := writeChanged(to, at, content, have)
		return err
	})
}

// damageError is a saved state that is not as it was written.
type damageError struct {
	what  string
	cause error // may be nil
}

func (e *damageError) Error() string { return e.what }

// Unwrap returns the cause.
func (e *damageError) Unwrap() error { return e.cause }

// buffers are what one worker uses.
type buffers struct {
	one, two, empty []byte
	table           *crc32.Table
}

// eachChunk calls do for each chunk of a memory that is busy, several at a time.
func eachChunk(ctx context.Context, size int64, busy []bool, do func(i int, b *buffers) error) error {
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range min(runtime.NumCPU(), 4) {
		group.Go(func() error {
			length := min(size, memoryChunk)
			b := &buffers{
				one: make([]byte, length), two: make([]byte, length), empty: make([]byte, length),
				table: crc32.MakeTable(crc32.Castagnoli),
			}
			for {
				i := int(next.Add(1) - 1)
				if i >= len(busy) {
					return nil
				}
				if !busy[i] {
					continue
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := do(i, b); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

func chunkAt(i int, size int64) (offset, length int64) {
	offset = int64(i) * memoryChunk
	return offset, min(memoryChunk, size-offset)
}

// emptyMemory has the sums of a memory that nobody has written to.
func emptyMemory(size int64) memorySums {
	table, empty := crc32.MakeTable(crc32.Castagnoli), make([]byte, memoryChunk)
	sums := make(memorySums, (size+memoryChunk-1)/memoryChunk)
	for i := range sums {
		_, length := chunkAt(i, size)
		if i > 0 && length == memoryChunk {
			sums[i] = sums[0]
			continue
		}
		sums[i] = crc32.Checksum(empty[:length], table)
	}
	return sums
}

// readAll reads as much as buffer holds; what lies beyond the end of the file is empty.
func readAll(file *os.File, buffer []byte, at int64) error {
	n, err := file.ReadAt(buffer, at)
	if err == io.EOF {
		clear(buffer[n:])
		return nil
	}
	return err
}

// writeChanged writes the pages of want that have does not hold, neighbours together.
func writeChanged(to *os.File, at int64, want, have []byte) (written int64, err error) {
	same := func(from int) bool {
		end := min(from+memoryPage, len(want))
		return bytes.Equal(want[from:end], have[from:end])
	}
	for from := 0; from < len(want); {
		if same(from) {
			from += memoryPage
			continue
		}
		end := from + memoryPage
		for end < len(want) && !same(end) {
			end += memoryPage
		}
		end = min(end, len(want))
		n, err := to.WriteAt(want[from:end], at+int64(from))
		written += int64(n)
		if err != nil {
			return written, err
		}
		from = end
	}
	return written, nil
}

// dataChunks says for each chunk of a memory whether the file may have data there.
func dataChunks(file *os.File, size int64) ([]bool, error) {
	busy := make([]bool, (size+memoryChunk-1)/memoryChunk)
	for at := int64(0); at < size; {
		begin, end, err := nextData(file, at, size)
		if err != nil {
			return nil, err
		}
		for i := begin / memoryChunk; i*memoryChunk < end; i++ {
			busy[i] = true
		}
		// The rest of the last chunk is read anyway, so it need not be looked at.
		at = (end + memoryChunk - 1) / memoryChunk * memoryChunk
	}
	return busy, nil
}

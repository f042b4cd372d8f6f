package network

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

const (
	header   = 4       // bytes: QEMU's stream net device puts each frame's length before it, big endian (net/stream.c)
	minFrame = 14      // bytes of an Ethernet header
	maxFrame = 1 << 17 // bytes; QEMU's own limit is 68 KiB (NET_BUFSIZE)
	queue    = 8 << 20 // bytes on their way to the machine
)

// errLength ends a connection whose framing is lost.
var errLength = errors.New("frame length out of range")

// frames is the machine's connection as the switch may safely have it. The switch takes a lock while it writes, ends a
// connection itself when writing fails (and may then use it again), and trusts lengths. So here Write never waits and
// never fails: like a network card, it drops what the other side does not take, as when the machine is paused. And Read
// passes only whole frames with an Ethernet header. Only the end of reading ends the connection.
type frames struct {
	net.Conn
	reader  *bufio.Reader
	frame   []byte // what is left of the frame that is being read, its length included
	dropped atomic.Int64

	mu     sync.Mutex
	wake   *sync.Cond
	queued [][]byte
	bytes  int
	closed bool
}

// newFrames introduces the machine to the switch, which drops what is for a card that it has not heard of. A machine that
// has come back may wait to be spoken to, while the gateway still knows its address.
func newFrames(conn net.Conn, card net.HardwareAddr) *frames {
	f := &frames{Conn: conn, reader: bufio.NewReaderSize(conn, 1<<16), frame: hello(card)}
	f.wake = sync.NewCond(&f.mu)
	return f
}

// hello is a broadcast frame from card that means nothing: of the type for local experiments (IEEE 802, 9.2.4).
func hello(card net.HardwareAddr) []byte {
	frame := binary.BigEndian.AppendUint32(nil, minFrame)
	frame = append(frame, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	frame = append(frame, card...)
	return append(frame, 0x88, 0xb5)
}

// Read implements net.Conn.
func (f *frames) Read(p []byte) (int, error) {
	for len(f.frame) == 0 {
		frame, err := f.next()
		if err != nil {
			return 0, err
		}
		if len(frame) >= header+minFrame {
			f.frame = frame
		}
	}
	n := copy(p, f.frame)
	f.frame = f.frame[n:]
	return n, nil
}

func (f *frames) next() ([]byte, error) {
	var length [header]byte
	if _, err := io.ReadFull(f.reader, length[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > maxFrame {
		return nil, fmt.Errorf("%w: %d bytes", errLength, size)
	}
	frame := make([]byte, header+size)
	copy(frame, length[:])
	_, err := io.ReadFull(f.reader, frame[header:])
	return frame, err
}

// Write implements net.Conn.
func (f *frames) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || f.bytes+len(p) > queue {
		f.dropped.Add(1)
		return len(p), nil
	}
	f.queued = append(f.queued, bytes.Clone(p))
	f.bytes += len(p)
	f.wake.Signal()
	return len(p), nil
}

// Close implements net.Conn.
func (f *frames) Close() error {
	f.mu.Lock()
	f.closed = true
	f.wake.Signal()
	f.mu.Unlock()
	return f.Conn.Close()
}

// send carries the queued frames to the machine until the connection ends.
func (f *frames) send() {
	for {
		batch := f.take()
		if batch == nil {
			return
		}
		buffers := net.Buffers(batch)
		if _, err := buffers.WriteTo(f.Conn); err != nil {
			_ = f.Close() // ends reading as well, and with it the connection
			return
		}
	}
}

// take waits for frames and returns them all; nil at the end.
func (f *frames) take() [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.queued) == 0 && !f.closed {
		f.wake.Wait()
	}
	if f.closed {
		return nil
	}
	batch := f.queued
	f.queued, f.bytes = nil, 0
	return batch
}

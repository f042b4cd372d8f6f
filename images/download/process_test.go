package download

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/store"
)

// child is what such a process is told.
type child struct {
	Dir, Source string
	Blob        v1.Descriptor
	Full        bool // on a full disk, see TestDiskFull
}

// run downloads and says on out how far it is and for whom it waits.
func (c child) run(ctx context.Context, out io.Writer) error {
	if c.Full {
		return c.onFullDisk(ctx, out)
	}
	d, err := New(Config{
		Dir: c.Dir, Sources: []string{c.Source},
		Holder: store.Holder{Command: "skiff start", PID: os.Getpid(), Since: time.Now()},
		Waits:  func(holder store.Holder) { fmt.Fprintln(out, "waits", holder.PID) },
	})
	if err != nil {
		return err
	}
	return d.Fetch(ctx, []v1.Descriptor{c.Blob}, func(p Progress) { fmt.Fprintln(out, "done", p.Done) })
}

func (c child) text(t *testing.T) string {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// process is a child that runs.
type process struct {
	*exec.Cmd
	mu    sync.Mutex
	done  int64         // bytes
	moved chan struct{} // closed and replaced when done is another
	waits chan int      // for which process
	ended chan error
}

func (c child) start(t *testing.T) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0]), moved: make(chan struct{}), waits: make(chan int, 100), ended: make(chan error, 1)} //nolint:noctx // ended by Kill
	p.Env = append(os.Environ(), childVariable+"="+c.text(t))
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var problems strings.Builder
	p.Stderr = &problems
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			word, number, _ := strings.Cut(lines.Text(), " ")
			n, err := strconv.ParseInt(number, 10, 64)
			switch {
			case err != nil:
			case word == "waits":
				p.waits <- int(n)
			case word == "done":
				p.mu.Lock()
				p.done = n
				close(p.moved)
				p.moved = make(chan struct{})
				p.mu.Unlock()
			}
		}
		err := p.Wait()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, problems.String())
		}
		p.ended <- err
	}()
	return p
}

// reached waits until the process has that many bytes; false when ctx ends first.
func (p *process) reached(ctx context.Context, bytes int64) bool {
	for {
		p.mu.Lock()
		done, moved := p.done, p.moved
		p.mu.Unlock()
		if done >= bytes {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-moved:
		}
	}
}

// wait fails unless the process ends well.
func (p *process) wait(t *testing.T) {
	t.Helper()
	select {
	case err := <-p.ended:
		if err != nil {
			t.Errorf("the process that downloads: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the process that downloads does not end")
	}
}

// TestKilled kills downloads at random points. Each continues where the last one was, so that no more bytes are served than there
// are, and the block that each kill loses.
func TestKilled(t *testing.T) {
	t.Parallel()
	const size, packet, kills = 1 << 20, 16 << 10, 8
	content := someBytes(3, size)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // only chooses where to kill

	starting := make(chan *process, 1) // the one that asks next
	var until, served atomic.Int64     // packets, until the process is killed; bytes
	s := newServer(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		current := <-starting
		from, _, ranged := span(r, size)
		w.Header().Set("Content-Length", strconv.Itoa(size-from))
		if ranged {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, size-1, size))
			w.WriteHeader(http.StatusPartialContent)
		}
		for at := from; at < size; at += packet {
			n := min(packet, size-at)
			_, _ = w.Write(content[at : at+n])
			_ = http.NewResponseController(w).Flush()
			served.Add(int64(n))
			if until.Add(-1) == 0 {
				_ = current.Process.Kill()
				return
			}
			if !current.reached(r.Context(), int64(at+n)) { // no packet is on its way while another is served
				return
			}
		}
	})
	c := child{Dir: t.TempDir(), Source: s.URL, Blob: descriptor(t, content)}
	start := func() *process {
		p := c.start(t)
		starting <- p
		return p
	}
	for range kills {
		until.Store(1 + random.Int64N(size/packet/kills))
		p := start()
		if err := <-p.ended; err == nil {
			t.Fatal("the process ended before it was killed")
		}
	}
	until.Store(0)
	p := start()
	p.wait(t)
	d, _ := newTest(t, Config{Dir: c.Dir})
	wantBlob(t, d, content)
	if most := int64(size + kills*packet); served.Load() > most {
		t.Errorf("served %d bytes, want at most %d: the size and a packet for each of %d kills; asked for %s", served.Load(), most, kills, s.spans())
	}
	if n := len(s.requests()); n != kills+1 {
		t.Errorf("got %d requests, want %d", n, kills+1)
	}
}

// TestTwoProcesses: the second one waits, says for whom, and fetches nothing.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	waiting := make(chan struct{})
	s := newServer(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(content[:size/2])
		<-waiting
		_, _ = w.Write(content[size/2:])
	})
	c := child{Dir: t.TempDir(), Source: s.URL, Blob: descriptor(t, content)}
	one, other := c.start(t), c.start(t)
	// A lock is held for a moment before its holder is written into it.
	for named := false; !named; {
		var got, want int
		select {
		case got = <-one.waits:
			want = other.Process.Pid
		case got = <-other.waits:
			want = one.Process.Pid
		}
		if named = got != 0; named && got != want {
			t.Errorf("waits for process %d, want %d", got, want)
		}
	}
	close(waiting)
	one.wait(t)
	other.wait(t)
	d, _ := newTest(t, Config{Dir: c.Dir})
	wantBlob(t, d, content)
	if s.spans() != "all" || s.bytes != size {
		t.Errorf("got the requests %q and %d bytes, want one and %d", s.spans(), s.bytes, size)
	}
}

// TestHolderIsKilled: who waited continues.
func TestHolderIsKilled(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	s := newServer(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n > 0 {
			give(w, r, content, -1)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(content[:size/2])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	c := child{Dir: t.TempDir(), Source: s.URL, Blob: descriptor(t, content)}
	holder := c.start(t)
	if !holder.reached(t.Context(), size/2) {
		t.Fatal("the first process does not begin")
	}
	other := c.start(t)
	if pid := <-other.waits; pid != holder.Process.Pid {
		t.Errorf("waits for process %d, want %d", pid, holder.Process.Pid)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	other.wait(t)
	if got, want := s.spans(), "all 150000-299999"; got != want {
		t.Errorf("got the ranges %q, want %q", got, want)
	}
}

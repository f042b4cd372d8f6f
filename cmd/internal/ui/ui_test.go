package ui

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/machine"
)

// story is a run with every kind of event.
func story() []cluster.Event {
	image := cluster.Event{Profile: "dev", Step: "image", Index: 1, Steps: 2, Text: "Install the guest image"}
	boot := cluster.Event{Profile: "dev", Step: "boot", Index: 2, Steps: 2, Text: "Boot machine dev"}
	as := func(e cluster.Event, kind cluster.Kind) cluster.Event {
		e.Kind = kind
		return e
	}
	at := func(e cluster.Event, text string, done, total int64) cluster.Event {
		e.Kind, e.Text, e.Done, e.Total = cluster.Progress, text, done, total
		return e
	}
	return []cluster.Event{
		as(image, cluster.Began), at(image, "", 10, 100), at(image, "", 15, 100), at(image, "", 100, 100), as(image, cluster.Ended),
		as(boot, cluster.Began), at(boot, "waiting for SSH", 0, 0), at(boot, "waiting for SSH", 0, 0),
		{Kind: cluster.Warning, Profile: "dev", Text: "no KVM here, so it will be slow"},
		{Kind: cluster.Waiting, Profile: "dev", Step: "boot", Text: "the API server does not answer yet: etcd has not been started yet"},
		as(boot, cluster.Failed), as(image, cluster.Undone),
		{Kind: cluster.Info, Profile: "dev", Text: "That is <all>"},
	}
}

// problems is an error with everything that errors can have.
func problems() error {
	first := fail.New(fail.KubeadmFailed, "start cluster dev: run kubeadm", "%w",
		&machine.RunError{Cmd: "kubeadm init", ExitCode: 1, Stderr: []byte("one\ntwo\n")}).WithNext("skiff logs -p dev --step kubernetes")
	second := fmt.Errorf("also: %w", fail.New(fail.PortInUse, "start the agent", "127.77.1.1:6443 is in use").WithHint("End process 7."))
	whole := fmt.Errorf("both of %w and %w", errors.New("this"), errors.New("that")) // wraps two, and is one problem
	return errors.Join(errors.Join(first, second), whole)
}

func TestGolden(t *testing.T) {
	t.Parallel()
	tests := map[string]Options{
		"plain": {}, "verbose": {Verbose: 1}, "quiet": {Quiet: true}, "json": {Format: JSON, Events: true}, "data": {Format: JSON},
	}
	for name, options := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := 0
			options.NewID = func() string { id++; return strconv.Itoa(id) }
			options.Now = func() time.Time { return time.Date(2031, time.May, 4, 13, 0, 0, 5e6, time.FixedZone("", 3600)) }
			options.Env = func(string) string { return "" }
			var out, said bytes.Buffer
			printer := New(Streams{Out: &out, Err: &said}, options)
			for _, e := range story() {
				printer.Event(e)
			}
			code := printer.Fail(problems())
			text := fmt.Sprintf("-- stdout --\n%s-- stderr --\n%s-- code --\n%d\n", out.String(), said.String(), code)
			golden.Compare(t, filepath.Join("testdata", name+".golden"), []byte(text))
		})
	}
}

func TestFail(t *testing.T) {
	t.Parallel()
	refused := fail.New(fail.MemoryTooSmall, "check", "too small")
	tests := []struct {
		name string
		err  error
		code int
		ids  []fail.ID
	}{
		{"nothing", nil, 0, nil},
		{"unknown", io.ErrUnexpectedEOF, 1, []fail.ID{fail.Internal}},
		{"known", refused, 7, []fail.ID{fail.MemoryTooSmall}},
		{"wrapped", fmt.Errorf("start: %w", refused), 7, []fail.ID{fail.MemoryTooSmall}},
		{"the first decides", errors.Join(fail.New(fail.Interrupted, "x", "y"), refused), 130, []fail.ID{fail.Interrupted, fail.MemoryTooSmall}},
		{"join of one", errors.Join(nil, refused, nil), 7, []fail.ID{fail.MemoryTooSmall}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			printer := New(Streams{Out: io.Discard, Err: io.Discard}, Options{Env: func(string) string { return "" }})
			if code := printer.Fail(test.err); code != test.code {
				t.Errorf("Fail: got code %d, want %d", code, test.code)
			}
			var ids []fail.ID
			for _, one := range Problems(test.err) {
				ids = append(ids, one.ID)
			}
			if !slices.Equal(ids, test.ids) {
				t.Errorf("Problems: got %v, want %v", ids, test.ids)
			}
		})
	}
}

// locked is a buffer for a renderer that draws by itself.
type locked struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	w := &locked{}
	r := &terminal{w: w}
	for _, e := range story() {
		r.event(e)
		if e.Kind == cluster.Progress && e.Text != "" { // it draws by itself, some times a second
			await(t, w, "[2/2] Boot machine dev: waiting for SSH")
		}
	}
	r.close()
	got := w.String()
	for _, want := range []string{
		"✓\x1b[0m [1/2] Install the guest image (", "✗\x1b[0m [2/2] Boot machine dev (",
		"!\x1b[0m no KVM here, so it will be slow\n\r⠋ [2/2] Boot", "Rolled back: Install the guest image", "That is <all>\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("terminal: got %q, want it to contain %q", got, want)
		}
	}
	if !strings.HasSuffix(got, "That is <all>\n") {
		t.Errorf("terminal: got %q, want nothing behind the last line", got)
	}
}

// TestTimeLeft: a bar of bytes has the time that has passed and the time that is left.
func TestTimeLeft(t *testing.T) {
	t.Parallel()
	var w bytes.Buffer
	r := &terminal{w: &w}
	r.event(cluster.Event{Kind: cluster.Began, Text: "Download the guest image", Index: 1, Steps: 2})
	r.event(cluster.Event{Kind: cluster.Progress, Total: 100 << 20})
	if got := w.String(); !strings.Contains(got, "[0s:0s]") {
		t.Errorf("got %q, want the time that has passed and the time that is left", got)
	}
	r.close()
}

// await waits until text was written.
func await(t *testing.T, w *locked, text string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !strings.Contains(w.String(), text) {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("got %q, want %q in it", w.String(), text)
		}
	}
}

func TestLabel(t *testing.T) {
	t.Parallel()
	r := &terminal{w: io.Discard, step: strings.Repeat("ä", 200)} // as wide as a usual terminal
	if got := []rune(r.label()); len(got) != 60 || got[59] != '…' {
		t.Errorf("label: got %d characters, want 60 with … at the end", len(got))
	}
	r.step, r.at = "[1/2] Boot", "waiting"
	if got := r.label(); got != "[1/2] Boot: waiting" {
		t.Errorf("label: got %q, want %q", got, "[1/2] Boot: waiting")
	}
}

func TestAnimated(t *testing.T) {
	t.Parallel()
	if Animated(&bytes.Buffer{}, func(string) string { return "" }) {
		t.Error("Animated: got true for a buffer, want false")
	}
}

func TestData(t *testing.T) {
	t.Parallel()
	value := map[string]any{"b": []string{"x"}, "a": 1}
	for format, want := range map[Format]string{JSON: "{\"a\":1,\"b\":[\"x\"]}\n", YAML: "a: 1\nb:\n- x\n", Text: "words\n", "": "words\n"} {
		var out bytes.Buffer
		printer := New(Streams{Out: &out, Err: io.Discard}, Options{Format: format, Env: func(string) string { return "" }})
		err := printer.Data(value, func(w io.Writer) error {
			_, err := io.WriteString(w, "words\n")
			return err
		})
		if err != nil || out.String() != want {
			t.Errorf("Data as %q: got %q and error %v, want %q", format, out.String(), err, want)
		}
	}
}

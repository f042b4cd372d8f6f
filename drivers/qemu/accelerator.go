package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/tuning"
)

// choice is an accelerator, and why it is not a better one.
type choice struct {
	Name  accelerator `json:"name"`
	Note  string      `json:"note"`
	Words string      `json:"words,omitempty"` // what the test guest or QEMU said
}

const slower = "; using software emulation, about ten times slower"

// Accelerator returns the best accelerator that runs a guest of that image here, and says so when it is software
// emulation. It finds out by running a guest, as a KVM that is there may still not do that (on nested and paravirtual
// hosts).
func (d *Driver) Accelerator(ctx context.Context, image machine.Image) (name, note, words string) {
	found, err := d.accelerator(ctx, image)
	if err != nil {
		return string(tcg), "", ""
	}
	return string(found.Name), found.Note, found.Words
}

// accelerator fails only when ctx ends.
func (d *Driver) accelerator(ctx context.Context, image machine.Image) (choice, error) {
	candidate, missing := d.candidate()
	if missing != "" {
		return choice{Name: tcg, Note: missing + slower}, nil
	}
	key := d.key(image)
	if known, ok := d.recall(); ok && known.Key == key && time.Now().Before(known.Until) {
		return known.choice, nil
	}
	found, until := choice{Name: candidate}, time.Now().AddDate(1, 0, 0)
	err := d.probe(ctx, image, candidate)
	if ctx.Err() != nil {
		return choice{}, ctx.Err()
	}
	if err != nil {
		found = choice{Name: tcg, Note: strings.ToUpper(string(candidate)) + " is present but cannot run guests here" + slower, Words: err.Error()}
	}
	if errors.Is(err, errSilent) {
		until = time.Now().AddDate(0, 0, 1) // a host that was very busy gets another chance
	}
	d.remember(known{Key: key, Until: until, choice: found})
	return found, nil
}

// candidate returns the hardware accelerator of this kind of host, or why it need not be tried.
func (d *Driver) candidate() (candidate accelerator, missing string) {
	if runtime.GOOS == "darwin" {
		return hvf, ""
	}
	device, err := os.OpenFile(d.kvm, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist) && d.module() != "":
		return "", fmt.Sprintf("the processor can virtualise, but the kernel's module for it is not loaded (there is no %s)", d.kvm)
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Sprintf("this host offers no hardware virtualisation (there is no %s)", d.kvm)
	case errors.Is(err, fs.ErrPermission):
		return "", fmt.Sprintf("KVM is present but %s may not be opened by this user", d.kvm)
	case err != nil:
		return "", fmt.Sprintf("KVM is present but cannot be used (%v)", err)
	}
	_ = device.Close()
	return kvm, ""
}

// errSilent is a guest that did not say anything in time.
var errSilent = errors.New("a test guest did not boot in time")

// probeMarker is what the image's initrd prints when it is asked for it.
const probeMarker = "skiff-probe-ok"

// probe runs a guest and returns nil when it got as far as its first process.
func (d *Driver) probe(ctx context.Context, image machine.Image, accel accelerator) error {
	ctx, cancel := context.WithTimeout(ctx, d.limits.probe)
	defer cancel()
	printed := &watch{stop: cancel, words: []string{probeMarker, "internal error"}}
	cmd := exec.CommandContext(ctx, d.options.QEMU, probeArgs(image, accel)...)
	cmd.Stdout, cmd.Stderr = printed, printed
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch seen := printed.seen; {
	case seen == probeMarker:
		return nil
	case seen != "":
		return errors.New("a test guest ended in an internal error of " + string(accel))
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return errSilent
	case err != nil:
		return fmt.Errorf("QEMU ended: %w: %s", err, hostfiles.LastLines(printed.end))
	}
	return errors.New("a test guest powered off before it was up")
}

// watch is a writer that stops the program when it has printed one of the words.
type watch struct {
	stop  context.CancelFunc
	words []string
	seen  string // the word; empty so far
	end   []byte // the last of what was printed
}

func (w *watch) Write(p []byte) (int, error) {
	const enough = 4096
	w.end = append(w.end, p...)
	for _, word := range w.words {
		if w.seen == "" && strings.Contains(string(w.end), word) {
			w.seen = word
			w.stop()
		}
	}
	if len(w.end) > enough {
		w.end = w.end[len(w.end)-enough:]
	}
	return len(p), nil
}

// known is what the driver remembers of its last probe.
type known struct {
	Key   string    `json:"key"` // stands for all that the answer depends on
	Until time.Time `json:"until"`
	choice
}

// recall returns nothing when nothing, or nothing legible, is remembered: then the host is asked again.
func (d *Driver) recall() (known, bool) {
	var k known
	raw, err := os.ReadFile(d.options.Memory)
	if err != nil || json.Unmarshal(raw, &k) != nil {
		return known{}, false
	}
	return k, true
}

// remember may fail: then the next start takes some seconds more.
func (d *Driver) remember(k known) {
	raw, err := json.MarshalIndent(k, "", "  ")
	if err != nil || d.options.Memory == "" || os.MkdirAll(filepath.Dir(d.options.Memory), 0o700) != nil {
		return
	}
	_ = renameio.WriteFile(d.options.Memory, append(raw, '\n'), 0o600)
}

func (d *Driver) forget() {
	if d.options.Memory != "" {
		_ = os.Remove(d.options.Memory)
	}
}

// key changes when the answer might: with the host's kernel and processor, the device, QEMU, and what the guest boots.
func (d *Driver) key(image machine.Image) string {
	cmdline := tuning.Hardware().Cmdline(image.Cmdline) // only hardware is probed
	sum := sha256.New()
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		fmt.Fprintf(sum, "%s\n", unix.ByteSliceToString(name.Release[:]))
	}
	fmt.Fprintln(sum, "with words", host.Processor(), cmdline) // older memories have QEMU's words in the note
	qemu, err := exec.LookPath(d.options.QEMU)
	if err != nil {
		qemu = d.options.QEMU
	}
	for _, path := range []string{qemu, d.kvm, image.Kernel, image.Initrd} {
		var stat unix.Stat_t
		if unix.Stat(path, &stat) == nil {
			fmt.Fprintln(sum, path, stat.Dev, stat.Ino, stat.Size, stat.Mode, stat.Mtim)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

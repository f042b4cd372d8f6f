package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// behaviour is how the test binary behaves when it plays QEMU.
type behaviour string

const (
	works    behaviour = "works"
	deaf     behaviour = "deaf"      // the guest does not react to the power button
	stubborn behaviour = "stubborn"  // deaf, and QEMU does not react to SIGTERM
	paused   behaviour = "paused"    // runs with a paused guest
	full     behaviour = "full"      // cannot write the guest's disk
	dies     behaviour = "dies"      // complains and ends
	mute     behaviour = "mute"      // runs and never listens
	old      behaviour = "old"       // tells an old version
	noProbe  behaviour = "no-probe"  // works, but a test guest has an internal error
	hangs    behaviour = "hangs"     // works, but a test guest never says anything
	image    behaviour = "img"       // qemu-img
	fullDisk behaviour = "img-full"  // qemu-img that cannot write
	newer    behaviour = "newer"     // works, and is of another version
	noSave   behaviour = "no-save"   // works, but cannot save its devices
	noLoad   behaviour = "no-load"   // works, but ends when it is to load devices
	diesSave behaviour = "dies-save" // works, but dies while it saves its devices
	nobodys  behaviour = "nobodys"   // works, but a guest that goes on from a saved boot does not take its identity
)

const playVariable = "SKIFF_TEST_PLAYS_QEMU"

// playing writes a script that starts the test binary in the given behaviour.
func playing(t *testing.T, how behaviour) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "qemu-"+string(how))
	// The race detector's runtime would wait for a second before it ends.
	script := fmt.Sprintf("#!/bin/sh\nGORACE=atexit_sleep_ms=0 %s=%s exec '%s' \"$@\"\n", playVariable, how, self)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// play is the main function of a stand-in for QEMU.
func play(how behaviour, args []string, out io.Writer) error {
	switch {
	case args[0] == "--version" && how == old:
		_, err := fmt.Fprintln(out, "QEMU emulator version 6.2.0 (Debian 1:6.2)")
		return err
	case args[0] == "--version" && how == newer:
		_, err := fmt.Fprintln(out, "QEMU emulator version 7.2.23 (Debian 1:7.2+dfsg-7+deb12u19)")
		return err
	case args[0] == "--version":
		fmt.Fprintln(out, "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)")
		return nil
	case how == dies:
		return fmt.Errorf("qemu: -netdev stream: cannot reach anything")
	case how == fullDisk:
		return fmt.Errorf("qemu-img: No space left on device")
	case how == image && args[0] == "rebase":
		return rebase(args)
	case how == image: // create … -- PATH SIZE
		return layerFile{Backing: value(args, "-b")}.write(args[len(args)-2])
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if how == stubborn {
		signal.Ignore(syscall.SIGTERM)
	}
	if strings.Contains(value(args, "-append"), "skiff.probe=1") {
		switch how {
		case noProbe:
			fmt.Fprintln(out, "KVM internal error. Suberror: 1")
		case hangs:
		default:
			fmt.Fprintln(out, "[    0.5] skiff-probe-ok")
		}
		<-stop
		return nil
	}
	if err := os.WriteFile(value(args, "-pidfile"), fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		return err
	}
	if how == mute {
		<-stop
		return nil
	}
	socket, _, _ := strings.Cut(strings.TrimPrefix(value(args, "-qmp"), "unix:"), ",")
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", socket)
	if err != nil {
		return err
	}
	powerOff := make(chan struct{})
	go newPlayer(how, args, powerOff).serve(listener)
	select {
	case <-stop:
	case <-powerOff:
	}
	return os.Remove(value(args, "-pidfile"))
}

// value returns what follows an option.
func value(args []string, option string) string {
	for i, arg := range args[:len(args)-1] {
		if arg == option {
			return args[i+1]
		}
	}
	return ""
}

// layerFile is what a layer of a disk holds behind its magic number.
type layerFile struct {
	Backing string // as the real ones have it
	Count   int64  // what the guest wrote last; 0 when it wrote nothing here
}

// write replaces the whole of the file with one call, as the process may be killed at any moment: every layer is as long.
func (l layerFile) write(path string) error {
	content, err := json.Marshal(l)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(file, "QFI\xfb\x00\x00\x00\x03%-1000s", content)
	return errors.Join(err, file.Close())
}

func readLayer(path string) (l layerFile, err error) {
	content, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(content[8:], &l)
	}
	return l, err
}

// rebase does what "qemu-img rebase" does: it takes over what the layer shows of its backing file.
func rebase(args []string) error {
	path := args[len(args)-1]
	layer, err := readLayer(path)
	if err != nil {
		return err
	}
	if strings.HasSuffix(layer.Backing, ".qcow2") && layer.Backing != value(args, "-b") && layer.Count == 0 {
		below, err := readLayer(filepath.Join(filepath.Dir(path), layer.Backing))
		if err != nil {
			return err
		}
		layer.Count = below.Count
	}
	layer.Backing = value(args, "-b")
	return layer.write(path)
}

// staleMark is the file that says that a guest went on with a memory that does not belong to its disk.
func staleMark(f files) string { return filepath.Join(f.dir, "stale") }

// player is what the stand-in knows of its guest, which counts: in its memory, and on its disk.
type player struct {
	how      behaviour
	powerOff chan<- struct{}
	memory   *os.File // of the guest, inherited
	files    files

	status string
	layers []string            // of its disk, the topmost last
	given  map[string]*os.File // files that were handed over
	count  int64
	size   int64 // of the disk, as the guest sees it
}

func newPlayer(how behaviour, args []string, powerOff chan<- struct{}) *player {
	p := &player{
		how: how, powerOff: powerOff, memory: os.NewFile(3, "memory"), files: files{dir: filepath.Dir(value(args, "-pidfile"))},
		status: "running", size: 20 << 30, given: map[string]*os.File{},
	}
	for _, arg := range args {
		var node struct {
			Name string `json:"node-name"`
		}
		if json.Unmarshal([]byte(arg), &node) == nil && strings.HasPrefix(node.Name, "disk") {
			p.layers = append(p.layers, node.Name+".qcow2")
		}
	}
	p.count = p.onDisk()
	if !p.seeded() && how != deaf {
		p.say(namelessMarker)
	}
	switch {
	case how == paused:
		p.status = "paused"
	case how == full:
		p.status = "io-error"
	case value(args, "-incoming") == "defer":
		p.status = "inmigrate"
	}
	return p
}

// seeded reports whether the guest has been told who it is.
func (p *player) seeded() bool {
	disk, err := os.ReadFile(p.files.seed())
	return err != nil || strings.Contains(string(disk), "user-data")
}

func (p *player) say(text string) {
	console, err := os.OpenFile(p.files.console(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, _ = fmt.Fprintf(console, "[    1.0] %s\r\n", text)
		_ = console.Close()
	}
}

// onDisk is the count as the guest's disk has it.
func (p *player) onDisk() int64 {
	for _, layer := range slices.Backward(p.layers) {
		if l, err := readLayer(p.files.layer(layer)); err == nil && l.Count > 0 {
			return l.Count
		}
	}
	return 0
}

const countAt = 3 << 20 // where the guest's memory has the count

func (p *player) inMemory() int64 {
	var count [8]byte
	_, _ = p.memory.ReadAt(count[:], countAt)
	return int64(binary.LittleEndian.Uint64(count[:]))
}

// work is what the guest does while it runs.
func (p *player) work() {
	p.count++
	_, _ = p.memory.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(p.count)), countAt)
	layer, err := readLayer(p.files.layer(p.layers[len(p.layers)-1]))
	if err == nil {
		layer.Count = p.count
		_ = layer.write(p.files.layer(p.layers[len(p.layers)-1]))
	}
}

// serve answers one connection at a time, as QEMU does.
func (p *player) serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		speakQMP(withFiles{conn.(*net.UnixConn), func(file *os.File) { p.given[""] = file }}, p.version(), p.answer)
	}
}

func (p *player) version() map[string]any {
	micro := 22
	if p.how == newer {
		micro++
	}
	return map[string]any{"qemu": map[string]int{"major": 7, "minor": 2, "micro": micro}, "package": "Debian"}
}

func (p *player) answer(command string, arguments map[string]any) any {
	if p.status == "running" && p.files.made() {
		p.work()
	}
	switch command {
	case "query-status":
		return map[string]any{"status": p.status}
	case "cont":
		if p.how != full {
			p.status = "running"
		}
		if p.seeded() && p.how != nobodys {
			p.say(namedMarker)
		}
	case "stop":
		p.status = "paused"
	case "quit":
		close(p.powerOff)
	case "system_powerdown":
		if p.status == "running" && p.how != deaf && p.how != stubborn { // one that stands still hears nothing
			close(p.powerOff)
		}
	case "getfd":
		p.given[arguments["fdname"].(string)] = p.given[""]
	case "query-block":
		return []any{map[string]any{"inserted": map[string]any{"node-name": "seed"}}, map[string]any{"inserted": map[string]any{
			"node-name": p.active(), "image": map[string]any{"virtual-size": p.size},
		}}}
	case "block_resize":
		size := int64(arguments["size"].(float64))
		if arguments["node-name"] != p.active() || size < p.size {
			return fmt.Errorf("the guest has %s of %d bytes", p.active(), p.size)
		}
		p.size = size
		p.say(fmt.Sprintf("the disk has %d bytes", size))
	case "blockdev-snapshot":
		if arguments["node"] != p.active() {
			return fmt.Errorf("the guest has %s", p.active())
		}
		p.layers = append(p.layers, arguments["overlay"].(string)+".qcow2")
	case "migrate":
		return p.save(p.given[strings.TrimPrefix(arguments["uri"].(string), "fd:")])
	case "query-migrate":
		if p.how == noSave {
			return map[string]any{"status": "failed", "error-desc": "told to"}
		}
		return map[string]any{"status": "completed"}
	case "migrate-incoming":
		return p.load(p.given[strings.TrimPrefix(arguments["uri"].(string), "fd:")])
	}
	return map[string]any{}
}

func (p *player) active() string { return nodeName(p.layers[len(p.layers)-1]) }

// save writes what stands for the state of the devices: what the memory is that belongs to it.
func (p *player) save(to *os.File) any {
	defer func() { _ = to.Close() }()
	switch p.how {
	case noSave:
		return map[string]any{}
	case diesSave:
		os.Exit(1) //nolint:forbidigo,revive // QEMU ends like that
	}
	if p.status == "running" {
		return fmt.Errorf("the guest runs")
	}
	p.status = "postmigrate"
	if _, err := fmt.Fprint(to, p.digest()); err != nil {
		return err
	}
	return map[string]any{}
}

// load ends the process when the memory is not the one that was saved, as guests then do something odd.
func (p *player) load(from *os.File) any {
	defer func() { _ = from.Close() }()
	devices, err := io.ReadAll(from)
	if err != nil || string(devices) != p.digest() || p.how == noLoad {
		fmt.Fprintln(os.Stderr, "qemu: the memory is not the one that was saved")
		os.Exit(1) //nolint:forbidigo,revive // QEMU ends like that
	}
	if p.count = p.inMemory(); p.count != p.onDisk() {
		_ = os.WriteFile(staleMark(p.files), fmt.Appendf(nil, "memory %d, disk %d", p.count, p.onDisk()), 0o600)
	}
	p.status = "paused"
	return map[string]any{}
}

func (p *player) digest() string {
	info, err := p.memory.Stat()
	if err != nil {
		return err.Error()
	}
	sum := sha256.New()
	busy, err := dataChunks(p.memory, info.Size())
	for i := range busy {
		if at, length := chunkAt(i, info.Size()); busy[i] && err == nil {
			_, err = io.Copy(sum, io.NewSectionReader(p.memory, at, length))
		}
	}
	return fmt.Sprintf("%x %v", sum.Sum(nil), err)
}

// withFiles is a connection over which files come too.
type withFiles struct {
	*net.UnixConn
	take func(*os.File)
}

func (c withFiles) Read(p []byte) (int, error) {
	control := make([]byte, syscall.CmsgSpace(4))
	n, controls, _, _, err := c.ReadMsgUnix(p, control)
	if n == 0 && err == nil {
		err = io.EOF
	}
	if messages, parseErr := syscall.ParseSocketControlMessage(control[:controls]); parseErr == nil && len(messages) > 0 {
		if fds, rightsErr := syscall.ParseUnixRights(&messages[0]); rightsErr == nil {
			c.take(os.NewFile(uintptr(fds[0]), "given"))
		}
	}
	return n, err
}

// serveQMP speaks the protocol on conn until the other side closes it, with events before each answer.
func serveQMP(conn io.ReadWriteCloser, answer func(command string) any) {
	speakQMP(conn, map[string]any{}, func(command string, _ map[string]any) any { return answer(command) })
}

func speakQMP(conn io.ReadWriteCloser, version map[string]any, answer func(command string, arguments map[string]any) any) {
	defer func() { _ = conn.Close() }()
	out := json.NewEncoder(conn)
	_ = out.Encode(map[string]any{"QMP": map[string]any{"version": version, "capabilities": []string{"oob"}}})
	for in := json.NewDecoder(conn); ; {
		var request struct {
			Execute   string
			Arguments map[string]any
		}
		if in.Decode(&request) != nil {
			return
		}
		_ = out.Encode(map[string]any{"event": "RESUME", "timestamp": map[string]any{"seconds": 1}})
		switch result := answer(request.Execute, request.Arguments).(type) {
		case error:
			_ = out.Encode(map[string]any{"error": map[string]any{"class": "GenericError", "desc": result.Error()}})
		default:
			_ = out.Encode(map[string]any{"return": result})
		}
	}
}

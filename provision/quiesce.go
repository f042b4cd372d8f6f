package provision

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// sentinel is what stays awake in a machine that stands still for its memory to be kept.
//
//go:embed sentinel.pl
var sentinel string

// What sentinel writes to the machine's console, each in a line of its own. After the first comes the fingerprint of the
// machine's certificates.
const (
	awakeLine = "skiff: awake "
	dnsLine   = "skiff: cluster DNS answers"
)

// frozenGroups are the control groups (below /sys/fs/cgroup) of what stands still: the pods, and those who start them.
// Without pods the first is not there.
func frozenGroups() []string {
	return []string{"kubepods.slice", "system.slice/kubelet.service", "system.slice/containerd.service"}
}

// releaseLimit bounds the wait for what stood still to go on. It is told so at once, and does, however slow it is.
const releaseLimit = 10 * time.Second

// Quiesce makes Kubernetes and its pods stand still on a machine whose memory is about to be kept, after all that they
// wrote is on its disk. Wherever that memory goes on at a later time, the machine itself sets its clock and its random
// pool right before anything that stood still goes on, and says so on its console (see Awake). On the machine at hand they
// go on with release, or when the connection ends, or after half a minute. When Quiesce fails, nothing stands still.
func Quiesce(ctx context.Context, runner machine.Runner, config Config) (release func(), err error) {
	question, err := question(uint16(rand.Uint32()), config.apiServerName()) //nolint:gosec // tells answers apart, keeps no secret
	if err != nil {
		return nil, err
	}
	server, address := config.DNSAddress().As4(), config.ServiceAddress(1).As4()
	args := []string{
		"perl", "-e", sentinel, certificatesFile,
		hex.EncodeToString(server[:]), hex.EncodeToString(question[2:]), // datagrams have no length in front (RFC 1035, section 4.2)
		"0004" + hex.EncodeToString(address[:]), // the data of a record: its length, and an address (RFC 1035, section 3.2.1)
	}
	held, end := io.Pipe()
	var complaint bytes.Buffer
	still, ended := newSignal("still"), make(chan error, 1)
	go func() {
		defer func() { _ = held.Close() }()
		_, err := runner.Run(context.WithoutCancel(ctx), machine.Cmd{
			Args:  append(args, frozenGroups()...),
			Stdin: held, Stdout: still, Stderr: &complaint,
		})
		ended <- err
	}()
	release = func() {
		_ = end.Close()
		select {
		case <-ended: //nolint:errcheck // how is of no interest: whoever is woken finds out what still stands
		case <-time.After(releaseLimit):
		}
	}
	u := &up{config: config}
	select {
	case <-still.given:
		return release, nil
	case err := <-ended:
		_ = end.Close()
		return nil, u.failed(fail.ProvisionFailed, "suspend", "make Kubernetes stand still", err, complaint.Bytes())
	case <-ctx.Done():
		_ = end.Close() // nobody waits any more, also not for a machine that is gone
		return nil, ctx.Err()
	}
}

// Awake returns the fingerprint of the certificates that a machine has which says in this line of its console that it is
// awake.
func Awake(line string) (certificates string, ok bool) {
	return strings.CutPrefix(strings.TrimSuffix(line, "\r"), awakeLine)
}

// DNSAnswers reports whether the machine says in this line of its console that cluster DNS, asked at its Service's address,
// knows the API server's Service.
func DNSAnswers(line string) bool { return strings.TrimSuffix(line, "\r") == dnsLine }

// signal is given once a command has printed a word.
type signal struct {
	word    string
	given   chan struct{}
	written []byte
}

func newSignal(word string) *signal { return &signal{word: word, given: make(chan struct{})} }

// Write implements io.Writer.
func (s *signal) Write(p []byte) (int, error) {
	was := s.printed()
	s.written = append(s.written, p...)
	if !was && s.printed() {
		close(s.given)
	}
	return len(p), nil
}

func (s *signal) printed() bool { return bytes.Contains(s.written, []byte(s.word)) }

package provision

import (
	"bytes"
	"context"
	"crypto/rand"
	"strings"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// wakeScript sets the clock, which stood still, from the one that did not; and only forward, as that one knows no
// fractions of a second. Then it mixes its input into the random pool and lets the generator take a new key from it
// (random(4): RNDRESEEDCRNG is 0x5207), as otherwise two machines restored from one state would draw the same numbers.
// What stood still while the memory was kept (see Quiesce) goes on then: the control groups after $1. Last it prints the
// fingerprint of the certificates that the machine has, from $1.
const wakeScript = `read -r now </sys/class/rtc/rtc0/since_epoch && [ "$now" -gt "$(date +%s)" ] && date -s "@$now" >/dev/null
cat >/dev/urandom && perl -e 'open(R, ">", "/dev/urandom") && ioctl(R, 0x5207, 0)' 2>/dev/null
file=$1; shift
` + thawScript + `
read -r certificates 2>/dev/null <"$file" || certificates=
echo "$certificates"`

// thawScript lets the control groups in its arguments go on, and all of them be what they usually are to the scheduler.
const thawScript = `for group; do echo 0 2>/dev/null >"/sys/fs/cgroup/$group/cgroup.freeze" || :; done
echo 0 2>/dev/null >/sys/fs/cgroup/system.slice/cpu.idle || :`

// seedBytes is more than the generator's key has.
const seedBytes = 64

// Wake sets right what is wrong on a machine whose memory is from an earlier time: its clock and its random pool, and then
// lets Kubernetes go on where it stands still. It returns once that is done, and reports whether the machine lacks
// certificates that have been made since: then Up is to be called. It is idempotent. Failures are fail.ProvisionFailed.
func Wake(ctx context.Context, runner machine.Runner, config Config, pki *PKI) (stale bool, err error) {
	seed := make([]byte, seedBytes)
	if _, err := rand.Read(seed); err != nil {
		return false, err
	}
	u := &up{config: config}
	var output, complaint bytes.Buffer
	_, err = runner.Run(ctx, machine.Cmd{
		Args:  append([]string{"sh", "-c", wakeScript, "sh", certificatesFile}, frozenGroups()...),
		Stdin: bytes.NewReader(seed), Stdout: &output, Stderr: &complaint,
	})
	if err != nil {
		return false, u.failed(fail.ProvisionFailed, "resume", "set the machine's clock", err, complaint.Bytes())
	}
	return strings.TrimSpace(output.String()) != pki.Fingerprint(), nil
}

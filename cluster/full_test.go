package cluster_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
)

// df is a guest whose disk of 20 GiB has that many MiB free.
func df(mib string) fake.Response {
	return fake.Response{Prefix: []string{"df"}, Stdout: "Avail 1B-blocks\n" + mib + "000000 20000000000\n"}
}

// TestGuestDiskFull: work that a full disk refuses ends in an error that says so, and names the way out; other failures stay
// what they are.
func TestGuestDiskFull(t *testing.T) {
	t.Parallel()
	up, wait, addon := "kubernetes.up=KUBEADM_FAILED", "kubernetes.wait=WAIT_TIMEOUT", "kubernetes.enable=ADDON_FAILED"
	for _, test := range []struct {
		fault string
		guest fake.Response
		want  fail.ID
	}{
		{up, df("10"), fail.GuestDiskFull},
		{up, df("1500"), fail.KubeadmFailed},
		{up, fake.Response{Prefix: []string{"df"}, ExitCode: 1}, fail.KubeadmFailed},
		{wait, df("1500"), fail.GuestDiskFull}, // too little for new pods
		{wait, df("3000"), fail.WaitTimeout},
		{addon, df("1500"), fail.GuestDiskFull},
	} {
		w := newWorld(t)
		w.driver.Responses = fake.Responses{test.guest}
		faults, err := clustertest.ParseFaults(test.fault)
		w.must(err)
		w.breaks(faults...)
		o := w.options()
		o.Wanted.Addons = []string{"ingress"}
		_, err = w.Start(t.Context(), o, w.sink)
		known, ok := errors.AsType[*fail.Error](err)
		if !ok || known.ID != test.want {
			t.Errorf("%s with %q: got error %v, want %s", test.fault, test.guest.Stdout, err, test.want)
			continue
		}
		if test.want == fail.GuestDiskFull && (known.Next != "skiff start -p dev --disk-size 40g" || w.status() == absent) {
			t.Errorf("%s: got next %q and %q, want the command that helps, and the cluster left as it is", test.fault, known.Next, w.status())
		}
	}
}

// TestLoadIntoAFullDisk: containerd says in words why it refused, and has taken away what filled the disk.
func TestLoadIntoAFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	load := func() error {
		archive := strings.NewReader(strings.Repeat("\x00", 257) + "ustar\x0000")
		_, err := w.LoadImages(t.Context(), "dev", "a.tar", archive, 0, w.sink)
		return err
	}
	ctr := fake.Response{Prefix: []string{"ctr"}, Stderr: "ctr: write /var/lib/x: no space left on device", ExitCode: 1}
	w.driver.Responses = fake.Responses{ctr, df("5000")}
	if err := load(); !fail.Is(err, fail.GuestDiskFull) {
		t.Errorf("got error %v, want %s", err, fail.GuestDiskFull)
	}
	ctr.Stderr = "ctr: unknown format"
	w.driver.Responses = fake.Responses{ctr, df("5000")}
	if err := load(); !fail.Is(err, fail.ImageRefused) {
		t.Errorf("got error %v, want %s", err, fail.ImageRefused)
	}
}

func TestStatusOfAFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agents := clustertest.Agents{}
	agents.Health.Disk = "the machine's disk is nearly full"
	w.Agents = agents
	w.starts(cluster.StartOptions{Profile: "dev"})
	status, err := w.Status(t.Context(), "dev")
	if err != nil || !strings.Contains(status.Note, "nearly full") || !strings.Contains(status.Note, "skiff start -p dev --disk-size 40g") {
		t.Errorf("got note %q and error %v, want the full disk and the command that grows it", status.Note, err)
	}
}

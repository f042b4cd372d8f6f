package main

import (
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// measured is a report of a run that was cut short before the snapshots.
func measured(t *testing.T) *report {
	t.Helper()
	r := &report{progress: io.Discard}
	var starts timings
	for _, seconds := range []string{"130", "110", "120"} { // the median is none of the ends
		took, err := time.ParseDuration(seconds + "s")
		if err != nil {
			t.Fatal(err)
		}
		told := "[1/2] Boot machine skiff\n      waiting for it to answer over SSH\n      done in 1m" + seconds[1:2] + "s\n" +
			"[2/2] Bring up Kubernetes\nWarning: not so fast\n      done in 250ms\nCluster skiff is ready.\n"
		if err := starts.add(took, told); err != nil {
			t.Fatal(err)
		}
	}
	r.addTimings(coldStart, starts, 90)
	r.add("status on a running cluster", 60, "ms", 100)
	r.add("guest memory in use, no addons", 650, "MiB", 700)
	r.add(handmade, 240, "s", 0)
	return r
}

func TestWrite(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	measured(t).write(&got)
	const want = `
what                                                   measured       budget of budget of baseline
cold start to usable                                    120.0 s         90 s      1.33      0.5000
status on a running cluster                             60.0 ms       100 ms      0.60      0.0003
guest memory in use, no addons                        650.0 MiB      700 MiB      0.93           -
baseline: boot, and kubeadm init by hand                240.0 s            -         -      1.0000

phases of cold start to usable
  Boot machine skiff                                               62.0 s
  Bring up Kubernetes                                               0.2 s
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestStamps(t *testing.T) {
	t.Parallel()
	var got timings
	if err := got.addStamps("100.50 kubeadm init\n150.75 node, and cluster DNS\n151.00 \n"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]phase{{"kubeadm init", 50.25}, {"node, and cluster DNS", 0.25}}, got.medians()); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	if err := got.addStamps("Permission denied\n"); err == nil {
		t.Error("no error for a line without a time")
	}
}

func TestSave(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := measured(t).save(folder); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(folder, "bench.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := png.Decode(file); err != nil {
		t.Error(err)
	}
}

// TestSpareNames: what is done with one spare and with the next is the same step.
func TestSpareNames(t *testing.T) {
	t.Parallel()
	var times timings
	for _, name := range []string{"spare-b1e8356d", "spare-69a8d469", "spare-697678f0"} {
		if err := times.add(time.Second, "[1/5] Take warm spare "+name+" for machine skiff\n      done in 0.5s\n"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]phase{{"Take warm spare for machine skiff", 0.5}}, times.medians()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

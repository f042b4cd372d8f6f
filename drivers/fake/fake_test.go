package fake_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

func testSpec(t *testing.T) machine.Spec {
	t.Helper()
	return machine.Spec{Cluster: "dev", Name: "skiff", Dir: t.TempDir(), RunDir: t.TempDir()}
}

// registryVariable hands the registry on to the process that the suite starts.
const registryVariable = "SKIFF_TEST_FAKE_REGISTRY"

func TestConformance(t *testing.T) {
	if os.Getenv(registryVariable) == "" {
		t.Setenv(registryVariable, t.TempDir())
	}
	drivertest.Run(t, func(t *testing.T) drivertest.Target {
		spec := testSpec(t) // without size and address, about which the fake does not decide
		options := fake.Options{Registry: os.Getenv(registryVariable), Responses: drivertest.Guest(spec)}
		return drivertest.Target{
			Driver: fake.New(options),
			Spec:   spec,
			Fresh:  func() drivers.Driver { return fake.New(options) },
			Crash:  func(_ context.Context, m machine.Machine) error { return m.(*fake.Machine).Crash() },
		}
	})
}

func TestFailures(t *testing.T) {
	t.Parallel()
	create := func(ctx context.Context, d *fake.Driver, spec machine.Spec) error {
		_, err := d.Create(ctx, spec)
		return err
	}
	start := func(ctx context.Context, d *fake.Driver, spec machine.Spec) error { return d.Machine(spec).Start(ctx) }
	remove := func(ctx context.Context, d *fake.Driver, spec machine.Spec) error { return d.Machine(spec).Delete(ctx) }
	tests := map[string]struct {
		options string // JSON, as a script test has it
		created bool   // the machine exists before
		do      func(context.Context, *fake.Driver, machine.Spec) error
		want    machine.State
	}{
		"create fails":            {`{"failures":{"create":{"error":"no luck"}}}`, false, create, machine.Absent},
		"create is cut off":       {`{"failures":{"create":{"error":"no luck","when":"half"}}}`, false, create, machine.Absent},
		"create is cut off late":  {`{"failures":{"create":{"error":"no luck","when":"after"}}}`, false, create, machine.Stopped},
		"start fails":             {`{"failures":{"start":{"error":"no luck"}}}`, true, start, machine.Stopped},
		"start is cut off late":   {`{"failures":{"start":{"error":"no luck","when":"after"}}}`, true, start, machine.Running},
		"delete fails":            {`{"failures":{"delete":{"error":"no luck"}}}`, true, remove, machine.Stopped},
		"delete is cut off early": {`{"failures":{"delete":{"error":"no luck","when":"half"}}}`, true, remove, machine.Absent},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := testSpec(t)
			if test.created {
				if _, err := fake.New(fake.Options{}).Create(t.Context(), spec); err != nil {
					t.Fatal(err)
				}
			}
			var options fake.Options
			if err := json.Unmarshal([]byte(test.options), &options); err != nil {
				t.Fatal(err)
			}
			if err := test.do(t.Context(), fake.New(options), spec); err == nil || !strings.Contains(err.Error(), "no luck") {
				t.Errorf("got error %v, want one with %q", err, "no luck")
			}
			m := fake.New(fake.Options{}).Machine(spec)
			if got, err := m.State(t.Context()); got != test.want || err != nil {
				t.Errorf("got state %s (%v), want %s", got, err, test.want)
			}
			if err := m.Delete(t.Context()); err != nil {
				t.Errorf("Delete of what was left: %v", err)
			}
		})
	}
}

func TestFailureEnds(t *testing.T) {
	t.Parallel()
	spec := testSpec(t)
	d := fake.New(fake.Options{Failures: map[fake.Op]fake.Failure{
		fake.Create: {ID: fail.HostDiskFull, Times: 2},
		fake.Start:  {Hang: true, Times: 1},
	}})
	for range 2 {
		if _, err := d.Create(t.Context(), spec); !fail.Is(err, fail.HostDiskFull) {
			t.Errorf("got error %v, want %s", err, fail.HostDiskFull)
		}
	}
	m, err := d.Create(t.Context(), spec)
	if err != nil {
		t.Fatalf("the third time: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := m.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

// What a hypervisor runs outlives its files.
func TestMachinesOutliveTheirFolders(t *testing.T) {
	t.Parallel()
	spec := testSpec(t)
	options := fake.Options{Registry: filepath.Join(t.TempDir(), "machines")}
	if found, err := fake.New(options).Machines(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("at first: got %+v (%v), want nothing", found, err)
	}
	m, err := fake.New(options).Create(t.Context(), spec)
	if err == nil {
		err = m.Start(t.Context())
	}
	if err == nil {
		err = os.RemoveAll(spec.Dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	found, err := fake.New(options).Machines(t.Context())
	want := []drivers.Found{{Cluster: "dev", Name: "skiff", Dir: spec.Dir, State: machine.Running}}
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("got %+v (%v), want %+v", found, err, want)
	}
	if err := fake.New(options).Machine(machine.Spec{Dir: spec.Dir}).Delete(t.Context()); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if found, err := fake.New(options).Machines(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("after Delete: got %+v (%v), want nothing", found, err)
	}
}

func TestRunner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	runner := fake.NewRunner(dir, fake.Responses{
		{Prefix: []string{"kubeadm", "init"}, Stderr: "not yet\n", ExitCode: 1, Times: 1},
		{Prefix: []string{"kubeadm"}, Stdout: "done\n"},
		{Prefix: []string{"reboot"}, Error: "connection lost"},
	})
	tests := []struct{ cmd, out, problem string }{
		{cmd: "kubeadm init --config x", problem: `command "kubeadm init --config x" exited with status 1`},
		{cmd: "kubeadm init --config x", out: "done\n"},
		{cmd: "kubeadm version", out: "done\n"},
		{cmd: "reboot", problem: "connection lost"},
		{cmd: "systemctl start kubelet"},
		{cmd: "cat /none", problem: `command "cat /none" exited with status 1`},
	}
	var want [][]string
	for _, test := range tests {
		args := strings.Fields(test.cmd)
		want = append(want, args)
		got, err := runner.Run(t.Context(), machine.Cmd{Args: args})
		if (err == nil) != (test.problem == "") || err != nil && !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%s: got error %v, want %q", test.cmd, err, test.problem)
		}
		if string(got.Stdout) != test.out {
			t.Errorf("%s: got %q, want %q", test.cmd, got.Stdout, test.out)
		}
	}
	got, err := fake.NewRunner(dir, nil).Commands()
	if err != nil || !slices.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Errorf("got commands %q (%v), want %q", got, err, want)
	}
}

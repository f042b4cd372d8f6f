package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/agent/sleep"
	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/cmd/internal/cli"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/builtin"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// Variables by which a test tells the skiff that it runs what goes wrong.
const (
	envMain   = "SKIFF_TEST_MAIN"   // not empty: this test binary is skiff
	envFaults = "SKIFF_TEST_FAULTS" // see clustertest.ParseFaults
	envDriver = "SKIFF_TEST_DRIVER" // fake.Options as JSON
	envAgents = "SKIFF_TEST_AGENTS" // "live": agents are real ones, on machines that are not
	envAt     = "SKIFF_TEST_AT"     // "KIND STEP hang" or "KIND STEP kill": at that event of cluster.Event
	// envBackground, when not empty, lets skiff do what it does in the background, but waits for the end. Otherwise it does
	// none of that.
	envBackground = "SKIFF_TEST_BACKGROUND"
	envProgram    = "SKIFF_TEST_PROGRAM" // where skiff takes itself to be
	envIndex      = "SKIFF_TEST_INDEX"   // digest of the index of guest images that it takes itself to be built for
)

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" {
		fakeMain()
	}
	testscript.Main(m, map[string]func(){"skiff": fakeMain})
}

// fakeMain is main with stand-ins for all that needs a hypervisor.
func fakeMain() {
	deps, err := fakes()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fakes:", err)
		os.Exit(99)
	}
	streams := cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	os.Exit(cli.Main(context.Background(), os.Args[1:], streams, deps))
}

func fakes() (cli.Deps, error) {
	faults, err := clustertest.ParseFaults(os.Getenv(envFaults))
	if err != nil {
		return cli.Deps{}, err
	}
	var options fake.Options
	if text := os.Getenv(envDriver); text != "" {
		if err := json.Unmarshal([]byte(text), &options); err != nil {
			return cli.Deps{}, err
		}
	}
	driver := fake.New(options)
	deps := cli.Deps{
		Version: "v1.2.3", Commit: "0123abc", Build: cli.BuildStatic, Program: os.Getenv(envProgram), ImageIndex: os.Getenv(envIndex), Env: os.Getenv,
		Facts: func() host.Facts { return host.Facts{CPUs: 8, MemoryMiB: 16384, AvailableMiB: 12000} },
		Drivers: func(ctx context.Context, _ store.Home) func(string) (drivers.Driver, error) {
			return func(name string) (drivers.Driver, error) {
				if name == "auto" || name == driver.Name() {
					return driver, nil
				}
				return builtin.New(ctx, name, builtin.Options{}) // for its words on names that it does not know
			}
		},
		AllDrivers: func(store.Home) (auto, named []drivers.Driver) { return []drivers.Driver{driver}, nil },
		Agents:     clustertest.Agents{Faults: faults},
		Kubernetes: clustertest.Kubernetes{Faults: faults},
		RunAgent:   func(context.Context, string) error { return nil },
		Observe:    observe,
	}
	if os.Getenv(envBackground) != "" {
		deps.Background = waitFor
	}
	if os.Getenv(envAgents) != "live" {
		return deps, nil
	}
	deps.Agents, deps.RunAgent, err = liveAgents(driver, deps.Kubernetes)
	return deps, err
}

// waitFor runs this binary as skiff to its end.
func waitFor(log string, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	output, err := os.Create(log)
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }()
	command := exec.Command(self, args...) //nolint:noctx // nobody cancels what is done in the background
	command.Env = append(os.Environ(), envMain+"=1", envBackground+"=")
	command.Stdout, command.Stderr = output, output
	_ = command.Run() // nobody is told
	return nil
}

// liveAgents are processes of this binary.
func liveAgents(driver drivers.Driver, kubernetes cluster.Kubernetes) (cluster.Agents, func(context.Context, string) error, error) {
	executable, err := os.Executable()
	if err == nil {
		err = os.Setenv(envMain, "yes")
	}
	run := func(ctx context.Context, configFile string) error {
		config, err := agent.Load(configFile)
		if err != nil {
			return err
		}
		home, err := store.Locate(os.Getenv)
		if err != nil {
			return err
		}
		manager := &cluster.Manager{
			Home: home, Kubernetes: kubernetes, Drivers: func(string) (drivers.Driver, error) { return driver, nil },
		}
		runner := fake.NewRunner(home.Cluster(config.Profile).Logs(), nil)
		return agent.Run(ctx, config, os.Stderr, func(agent.Dialer) sleep.Machine {
			return cluster.Hands{Manager: manager, Profile: config.Profile, Runner: func(machine.SSH) cluster.Reached { return open{runner} }}
		})
	}
	return cluster.LiveAgents{Executable: executable}, run, err
}

// open is a Runner that needs no closing.
type open struct{ *fake.Runner }

func (open) Close() error { return nil }

// observe does at an event what the environment asks for.
func observe(ctx context.Context, e cluster.Event) {
	fields := strings.Fields(os.Getenv(envAt))
	if len(fields) != 3 || string(e.Kind) != fields[0] || e.Step != fields[1] {
		return
	}
	if fields[2] == "kill" {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	fmt.Fprintln(os.Stderr, "test: hangs")
	<-ctx.Done()
}

// Command skiff runs complete Kubernetes clusters on this computer, each in a virtual machine.
package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/agent/sleep"
	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cmd/internal/cli"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/builtin"
	"github.com/skiff-k8s/skiff/internal/background"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
	"github.com/skiff-k8s/skiff/store"
)

// version, commit and imageIndex are set by the linker; see the Makefile.
var (
	version    = "v0.0.0-dev" //nolint:gochecknoglobals // the linker can set nothing else
	commit     = "unknown"    //nolint:gochecknoglobals // as above
	imageIndex = ""           //nolint:gochecknoglobals // as above; digest of the index of guest images of a release
)

func main() {
	klog.SetLogger(logr.Discard()) // what Kubernetes' client has to say comes back as an error, and is told once
	streams := cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	os.Exit(cli.Main(context.Background(), os.Args[1:], streams, live()))
}

// awakeGrace is several times what a guest takes under emulation on an idle host.
const awakeGrace = 3 * time.Second

// live is what commands work with outside of tests.
func live() cli.Deps {
	executable, err := os.Executable()
	if err != nil {
		executable = os.Args[0]
	}
	program, err := filepath.EvalSymlinks(executable) // packages link to where the program lies beside its files
	if err != nil {
		program = executable
	}
	return cli.Deps{
		Version: version, Commit: commit, Build: build, Program: program, ImageIndex: imageIndex, Env: os.Getenv, Facts: host.Look,
		Drivers:    findDriver,
		AllDrivers: allDrivers,
		Agents:     cluster.LiveAgents{Executable: executable},
		Kubernetes: cluster.LiveKubernetes{},
		AwakeGrace: awakeGrace,
		RunAgent:   runAgent,
		Background: func(log string, args ...string) error { return background.Start(log, executable, args...) },
	}
}

func findDriver(ctx context.Context, home store.Home) func(string) (drivers.Driver, error) {
	return func(name string) (drivers.Driver, error) {
		_ = store.Folder(home.Cache) // without it the driver only forgets what it found out
		return builtin.New(ctx, name, driverOptions(home))
	}
}

func allDrivers(home store.Home) (auto, named []drivers.Driver) {
	return builtin.All(driverOptions(home)), builtin.Named(driverOptions(home))
}

func driverOptions(home store.Home) builtin.Options {
	return builtin.Options{AcceleratorMemory: home.AcceleratorMemory(), Version: version + " " + commit}
}

func runAgent(ctx context.Context, configFile string) error {
	config, err := agent.Load(configFile)
	if err != nil {
		return store.RefuseOther("start the agent", version+" "+commit, err)
	}
	home, err := store.Locate(os.Getenv)
	if err != nil {
		return err
	}
	return agent.Run(ctx, config, os.Stderr, func(dial agent.Dialer) sleep.Machine {
		return cluster.Hands{
			Manager: &cluster.Manager{Home: home, Drivers: findDriver(ctx, home), Kubernetes: cluster.LiveKubernetes{}},
			Profile: config.Profile,
			Runner:  func(target machine.SSH) cluster.Reached { return ssh.Through(target, ssh.Dial(dial)) },
		}
	})
}

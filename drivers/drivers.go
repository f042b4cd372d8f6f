// Package drivers says what a hypervisor driver promises. The drivers themselves are in the folders below; the list of
// those that skiff has is in drivers/builtin, and drivers/drivertest holds every one of them to this contract.
package drivers

import (
	"context"
	"net/netip"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// Driver makes machines with one technology. It knows machines, not Kubernetes. It is safe for concurrent use and may be
// called again after any failure.
type Driver interface {
	Name() string
	// Check says whether machines can be made here. It changes nothing.
	Check(ctx context.Context) []Finding
	// Create makes the machine on disk and leaves it stopped. When it fails or ctx is cancelled, nothing of the machine
	// stays. A machine that exists already with the same name is returned as it is.
	Create(ctx context.Context, spec machine.Spec) (machine.Machine, error)
	// Machine returns the handle of the machine that spec describes, whatever its state, without changing anything.
	Machine(spec machine.Spec) machine.Machine
	// Machines returns the machines of skiff that the technology itself knows of and lets this user see, whoever made
	// them and whatever has become of their files, in no particular order. Those that run are always among them; those
	// that do not only where the technology keeps a record of them.
	Machines(ctx context.Context) ([]Found, error)
}

// Found is a machine as its technology knows it. A machine.Spec with cluster, name and folder alone is enough for the
// driver's Machine to delete it.
type Found struct {
	Cluster string        `json:"cluster"` // the profile that it was made for
	Name    string        `json:"name"`    // as of machine.Spec
	Dir     string        `json:"dir"`     // folder of its files, which may be gone
	State   machine.State `json:"state"`   // Broken also when it does not answer
}

// Level says how much a Finding matters.
type Level string

// The levels of a Finding. A driver with any Failure cannot be used.
const (
	Good    Level = "pass"
	Warning Level = "warn"
	Failure Level = "fail"
)

// Finding is one thing that a driver looked at on this host.
type Finding struct {
	Name   string `json:"name"`   // short and stable, such as "accelerator"
	Level  Level  `json:"level"`  // pass, warn or fail
	Text   string `json:"text"`   // what was found, one sentence
	Remedy string `json:"remedy"` // the command that mends it; empty when nothing is to be done
	// ID is the failure that a start meets here; empty: fail.DriverUnhealthy.
	ID fail.ID `json:"-"`
	// Missing says of a Failure that what was looked for is not installed at all.
	Missing bool `json:"missing,omitempty"`
}

// Settings are what a user decided for one cluster about its driver. Each driver knows some of them; the zero value
// decides nothing.
type Settings struct {
	LibvirtURI string
	Network    string // of the host, that the machine joins with a second card
}

// Configurable is a driver that some settings are for.
type Configurable interface {
	// With returns a driver with these settings; d itself stays as it is. Those that it does not know, or cannot take,
	// give an error with an ID.
	With(settings Settings) (Driver, error)
}

// Scattered is a driver of which one value looks after one of several places where its machines may be.
type Scattered interface {
	// Places returns a driver for each of the places, this one's own first.
	Places() []Driver
}

// Everywhere returns the drivers of list, each for all of its places.
func Everywhere(list []Driver) []Driver {
	var all []Driver
	for _, driver := range list {
		if scattered, ok := driver.(Scattered); ok {
			all = append(all, scattered.Places()...)
			continue
		}
		all = append(all, driver)
	}
	return all
}

// Pauser is a machine that can be halted in memory.
type Pauser interface {
	// Pause halts the guest's processors: the state is Paused then, and Start lets the guest go on. It is nil when the
	// guest is paused already, and an error when it does not run.
	Pause(ctx context.Context) error
	// Unpause is Start for a guest that is paused, and returns once the guest executes. It is nil when the guest does so
	// already. Whatever happens to the machine meanwhile, it boots none: one that does not run gives an error.
	Unpause(ctx context.Context) error
}

// Grower is a machine whose disk can become larger while it runs.
type Grower interface {
	// Grow makes the disk of a machine that runs as large as its machine.Spec says, and tells the guest, also one whose memory is
	// of a time when the disk was smaller. A disk that is larger stays as it is. It is idempotent. The file system on the disk
	// is for the guest to grow.
	Grow(ctx context.Context) error
}

// Joiner is a machine that can have an address in a network of the host, beside that in its cluster's virtual network.
type Joiner interface {
	// Joined returns the address of a machine that exists, whether it runs or not; the zero Prefix when it joined none. A
	// machine keeps it for life: the machine.Spec of later handles has it.
	Joined(ctx context.Context) (netip.Prefix, error)
}

// Consoler is a machine whose console output is kept in a file on the host.
type Consoler interface {
	// ConsoleLog returns the path of the file; it may not exist yet.
	ConsoleLog() string
}

// Appender is a Consoler whose hypervisor appends to the file, so that the file can be emptied while the machine runs, and does
// not bound it by itself.
type Appender interface {
	Consoler
	// AppendsConsole says so; it does nothing.
	AppendsConsole()
}

// Accelerated is a driver that runs guests at different speeds, depending on the host.
type Accelerated interface {
	// Accelerator returns what speeds up a guest of that image here, such as "kvm", "hvf" or "tcg" (software emulation).
	// note is one sentence for people, without a full stop, and empty when there is nothing to say; words are those of
	// the program that runs guests, for a user who looks for the cause. The first call on a host may take some seconds; the
	// answer is remembered.
	Accelerator(ctx context.Context, image machine.Image) (name, note, words string)
}

// Adopter is a driver that takes machines over which exist already, rather than making them. Spec.SSH says where one is,
// and Spec.Network.Address which address of its own Inspect found; sizes mean nothing. The way to it does not lead through
// the virtual network of the cluster. Its Machines finds none.
type Adopter interface {
	// Inspect says whether the machine can be taken over, and which address it has. It changes nothing. A machine that is
	// the cluster's already can.
	Inspect(ctx context.Context, spec machine.Spec) (netip.Addr, error)
}

// Reporting is a machine whose start takes long enough to tell how far it is.
type Reporting interface {
	// StartReporting is Start that tells through report what it does, and how many bytes of how many are done where it counts
	// them (else 0, 0).
	StartReporting(ctx context.Context, report func(text string, done, total int64)) error
}

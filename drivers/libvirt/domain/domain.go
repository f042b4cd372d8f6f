// Package domain describes a machine to libvirt: the XML of its domain, and the mark by which skiff knows it again. It is
// text alone, so it is compiled and tested also where there is no libvirt.
package domain

import (
	"encoding/xml"
	"strings"

	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/tuning"
)

// Type is what executes the guest's instructions, by libvirt's names.
type Type string

// The types of domains that skiff makes.
const (
	KVM  Type = "kvm"
	QEMU Type = "qemu" // software emulation
)

// Files are those of the machine on the host that its domain names.
type Files struct {
	Disk    string // qcow2, a layer over the image's disk
	Seed    string
	Console string
}

// Options are what a domain depends on besides the machine's Spec.
type Options struct {
	Type   Type
	Files  Files
	Labels []Label // see Labels
	// Network is the network of libvirt that the machine joins; empty: none.
	Network string
}

// XML returns the definition of the machine's domain (libvirt documentation, "Domain XML format"). Everything in it is
// fixed, so that the same machine gives the same text, and the guest finds the same hardware at each start as under the
// driver qemu.
func XML(spec machine.Spec, o Options) ([]byte, error) {
	d := element{
		Type: o.Type, QEMU: "http://libvirt.org/schemas/domain/qemu/1.0",
		Name: Name(spec), UUID: UUID(spec), Metadata: metadata{Machine: markOf(spec, o.Network)},
		Memory: quantity{Unit: "MiB", Value: spec.MemoryMiB}, CPUs: vcpu{Placement: "static", Count: spec.CPUs},
		OS: boot{
			Type:   osType{Arch: "x86_64", Machine: "q35", Value: "hvm"}, // guest images are for amd64 alone
			Kernel: spec.Image.Kernel, Initrd: spec.Image.Initrd, Cmdline: tuning.Hardware().Cmdline(spec.Image.Cmdline),
		},
		Features:   features{VMPort: toggle{State: "off"}},
		CPU:        cpu{Mode: "host-passthrough", Check: "none"},
		Clock:      clock{Offset: "utc"},
		OnPowerOff: "destroy", OnReboot: "restart", OnCrash: "destroy",
		Devices:     devicesOf(spec, o.Files),
		Labels:      o.Labels,
		CommandLine: networkCard(spec.Network),
	}
	if o.Type == QEMU {
		d.CPU.Mode = "maximum"
		d.OS.Cmdline = tuning.Emulation().Cmdline(spec.Image.Cmdline)
		// The cache of translated code holds all of Kubernetes, which is otherwise translated again and again.
		d.Features.TCG = &tcg{Cache: quantity{Unit: "MiB", Value: 1024}}
	}
	if o.Network != "" {
		d.Devices.Interface = joining(o.Network, MAC(spec))
	}
	text, err := xml.MarshalIndent(d, "", "  ")
	return append(text, '\n'), err
}

// Disk is the machine's disk, as libvirt and the guest call it.
const Disk = "vda"

// devicesOf places the disks directly on the PCI root, as /dev/vda and /dev/vdb. What lies below the machine's disk is
// named here, and not read from the disk's file, which the guest could have written to.
func devicesOf(spec machine.Spec, files Files) devices {
	file := func(path string) *source { return &source{File: path} }
	console := func(name string, target target) character {
		return character{XMLName: xml.Name{Local: name}, Type: "file", Source: source{Path: files.Console, Append: "on"}, Target: target}
	}
	port := 0
	return devices{
		Disks: []disk{
			{
				Type: "file", Device: "disk", Driver: diskDriver{Name: "qemu", Type: "qcow2", Discard: "unmap"}, Source: file(files.Disk),
				Backing: &backing{Type: "file", Format: &format{Type: "raw"}, Source: file(spec.Image.Disk), Backing: &backing{}},
				Target:  target{Dev: Disk, Bus: "virtio"}, Address: slot(2),
			},
			{
				Type: "file", Device: "disk", Driver: diskDriver{Name: "qemu", Type: "raw"}, Source: file(files.Seed),
				Target: target{Dev: "vdb", Bus: "virtio"}, ReadOnly: &empty{}, Address: slot(3),
			},
		},
		Controllers: []controller{{Type: "usb", Model: "none"}},
		Serial:      console("serial", target{Port: &port}),
		Console:     console("console", target{Type: "serial", Port: &port}),
		Random:      random{Model: "virtio", Backend: backend{Model: "random", Value: "/dev/urandom"}, Address: slot(4)},
		Balloon:     model{Model: "none"},
	}
}

// networkCard connects the machine to its cluster's virtual network with QEMU's own words: libvirt has none for a unix
// socket of that kind. The card's place on the PCI root is one that libvirt does not give away.
func networkCard(n machine.Network) commandLine {
	return commandLine{Args: []argument{
		{"-netdev"}, {"stream,id=net0,server=off,addr.type=unix,addr.path=" + escape(n.Socket)},
		{"-device"}, {"virtio-net-pci,netdev=net0,romfile=,bus=pcie.0,addr=0x10,mac=" + n.MAC},
	}}
}

// joining connects the machine to a network of libvirt. The card lies behind that of the cluster's network, so that the guest
// calls it eth1.
func joining(network, mac string) *networkInterface {
	return &networkInterface{
		Type: "network", MAC: macAddress{Address: mac}, Source: source{Network: network}, Model: cardModel{Type: "virtio"},
		ROM: rom{Enabled: "no"}, Address: slot(joinedSlot),
	}
}

const joinedSlot = 0x11

// escape keeps commas in a value of QEMU's key=value lists.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }

func slot(number int) *pci {
	return &pci{Type: "pci", Domain: 0, Bus: 0, Slot: number, Function: 0}
}

// The elements of the definition, in libvirt's order and by its names.
type (
	element struct {
		XMLName     xml.Name    `xml:"domain"`
		Type        Type        `xml:"type,attr"`
		QEMU        string      `xml:"xmlns:qemu,attr"`
		Name        string      `xml:"name"`
		UUID        string      `xml:"uuid"`
		Metadata    metadata    `xml:"metadata"`
		Memory      quantity    `xml:"memory"`
		CPUs        vcpu        `xml:"vcpu"`
		OS          boot        `xml:"os"`
		Features    features    `xml:"features"`
		CPU         cpu         `xml:"cpu"`
		Clock       clock       `xml:"clock"`
		OnPowerOff  string      `xml:"on_poweroff"`
		OnReboot    string      `xml:"on_reboot"`
		OnCrash     string      `xml:"on_crash"`
		Devices     devices     `xml:"devices"`
		Labels      []Label     `xml:"seclabel"`
		CommandLine commandLine `xml:"qemu:commandline"`
	}
	metadata struct {
		Machine Mark
	}
	quantity struct {
		Unit  string `xml:"unit,attr"`
		Value int    `xml:",chardata"`
	}
	vcpu struct {
		Placement string `xml:"placement,attr"`
		Count     int    `xml:",chardata"`
	}
	boot struct {
		Type    osType `xml:"type"`
		Kernel  string `xml:"kernel"`
		Initrd  string `xml:"initrd"`
		Cmdline string `xml:"cmdline"`
	}
	osType struct {
		Arch    string `xml:"arch,attr"`
		Machine string `xml:"machine,attr"`
		Value   string `xml:",chardata"`
	}
	features struct {
		ACPI   empty  `xml:"acpi"`
		APIC   empty  `xml:"apic"`
		VMPort toggle `xml:"vmport"`
		TCG    *tcg   `xml:"tcg"`
	}
	empty  struct{}
	toggle struct {
		State string `xml:"state,attr"`
	}
	tcg struct {
		Cache quantity `xml:"tb-cache"`
	}
	cpu struct {
		Mode  string `xml:"mode,attr"`
		Check string `xml:"check,attr"`
	}
	clock struct {
		Offset string `xml:"offset,attr"`
	}
	devices struct {
		Disks       []disk            `xml:"disk"`
		Controllers []controller      `xml:"controller"`
		Interface   *networkInterface `xml:"interface"`
		Serial      character
		Console     character
		Random      random `xml:"rng"`
		Balloon     model  `xml:"memballoon"`
	}
	disk struct {
		Type     string     `xml:"type,attr"`
		Device   string     `xml:"device,attr"`
		Driver   diskDriver `xml:"driver"`
		Source   *source    `xml:"source"`
		Backing  *backing   `xml:"backingStore"`
		Target   target     `xml:"target"`
		ReadOnly *empty     `xml:"readonly"`
		Address  *pci       `xml:"address"`
	}
	diskDriver struct {
		Name    string `xml:"name,attr"`
		Type    string `xml:"type,attr"`
		Discard string `xml:"discard,attr,omitempty"`
	}
	source struct {
		File    string `xml:"file,attr,omitempty"`
		Path    string `xml:"path,attr,omitempty"`
		Append  string `xml:"append,attr,omitempty"`
		Network string `xml:"network,attr,omitempty"`
	}
	// backing without anything ends the chain.
	backing struct {
		Type    string   `xml:"type,attr,omitempty"`
		Format  *format  `xml:"format"`
		Source  *source  `xml:"source"`
		Backing *backing `xml:"backingStore"`
	}
	format struct {
		Type string `xml:"type,attr"`
	}
	target struct {
		Type string `xml:"type,attr,omitempty"`
		Dev  string `xml:"dev,attr,omitempty"`
		Bus  string `xml:"bus,attr,omitempty"`
		Port *int   `xml:"port,attr"`
	}
	pci struct {
		Type     string `xml:"type,attr"`
		Domain   int    `xml:"domain,attr"`
		Bus      int    `xml:"bus,attr"`
		Slot     int    `xml:"slot,attr"`
		Function int    `xml:"function,attr"`
	}
	controller struct {
		Type  string `xml:"type,attr"`
		Model string `xml:"model,attr"`
	}
	networkInterface struct {
		Type    string     `xml:"type,attr"`
		MAC     macAddress `xml:"mac"`
		Source  source     `xml:"source"`
		Model   cardModel  `xml:"model"`
		ROM     rom        `xml:"rom"`
		Address *pci       `xml:"address"`
	}
	macAddress struct {
		Address string `xml:"address,attr"`
	}
	cardModel struct {
		Type string `xml:"type,attr"`
	}
	rom struct {
		Enabled string `xml:"enabled,attr"`
	}
	character struct {
		XMLName xml.Name
		Type    string `xml:"type,attr"`
		Source  source `xml:"source"`
		Target  target `xml:"target"`
	}
	random struct {
		Model   string  `xml:"model,attr"`
		Backend backend `xml:"backend"`
		Address *pci    `xml:"address"`
	}
	backend struct {
		Model string `xml:"model,attr"`
		Value string `xml:",chardata"`
	}
	model struct {
		Model string `xml:"model,attr"`
	}
	commandLine struct {
		Args []argument `xml:"qemu:arg"`
	}
	argument struct {
		Value string `xml:"value,attr"`
	}
)

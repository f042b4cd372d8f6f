// Package config holds what a user may decide about a cluster: the cluster file, its defaults and its validation. It
// reads neither flags nor the environment; package cli fills it from those.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/store"
)

// Limits of a machine. Kubernetes' own minimum is 2 CPUs and 1700 MB ("kubeadm init" preflight); with skiff's smaller
// footprint 1536 MiB pass.
const (
	MinMemoryMiB = 1536
	MinCPUs      = 2
	MinDiskBytes = 20 << 30 // the size of the base image's file system
)

// APIVersion and Kind mark a cluster file.
const (
	APIVersion = "skiff.dev/v1alpha1"
	Kind       = "Cluster"
)

// Cluster is the file that describes one cluster: what was asked for and what was decided when it was made.
type Cluster struct {
	APIVersion        string     `json:"apiVersion"`
	Kind              string     `json:"kind"`
	Skiff             string     `json:"skiff,omitempty"` // version that wrote the file; empty in files from before it was noted
	Profile           string     `json:"profile"`
	Driver            string     `json:"driver"`
	LibvirtURI        string     `json:"libvirtURI,omitempty"` // where libvirt is; empty: the driver's default
	Network           string     `json:"network,omitempty"`    // of libvirt, that the machine joins with a second card
	CPUs              int        `json:"cpus"`
	MemoryMiB         int        `json:"memoryMiB"`
	DiskBytes         int64      `json:"diskBytes"`
	KubernetesVersion string     `json:"kubernetesVersion"`
	Image             string     `json:"image"`   // digest of the guest image that the disk is layered on
	Address           netip.Addr `json:"address"` // the cluster's loopback address
	APIServerNames    []string   `json:"apiserverNames,omitempty"`
	APIServerIPs      []string   `json:"apiserverIPs,omitempty"`
	ExtraConfig       []string   `json:"extraConfig,omitempty"`  // as ParseSetting reads them
	FeatureGates      []string   `json:"featureGates,omitempty"` // as ParseFeatureGates reads them
	Addons            []string   `json:"addons,omitempty"`
	Offline           bool       `json:"offline,omitempty"`
	AutoPause         Duration   `json:"autoPause,omitempty"`      // without a request, until the machine is paused; 0: never
	CertExpiration    Duration   `json:"certExpiration,omitempty"` // of certificates that are made from now on; 0 in files from before there was a choice: DefaultCertExpiration
	HostAccess        HostAccess `json:"hostAccess,omitzero"`      // what pods reach of this computer's 127.0.0.1
	// InsecureRegistries may be asked without TLS, or with a certificate that nobody vouches for; as ParseRegistries reads them.
	InsecureRegistries []string  `json:"insecureRegistries,omitempty"`
	SSH                *SSH      `json:"ssh,omitempty"` // a machine that exists already; nil for those that a driver makes
	Created            time.Time `json:"created"`
	// NetworkAddress is the machine's in Network; it is known once there is a machine.
	NetworkAddress netip.Prefix `json:"networkAddress,omitzero"`
	// Provisioned says that Kubernetes has once been brought up on it. Until then a start makes the cluster anew.
	Provisioned bool `json:"provisioned"`
}

// SSH is a machine that exists already and is taken over.
type SSH struct {
	Address netip.AddrPort `json:"address"`
	User    string         `json:"user"`
	KeyFile string         `json:"keyFile"`       // absolute path of the private key that the machine lets in
	HostKey string         `json:"hostKey"`       // pinned when the cluster was made; one authorized_keys line
	Node    netip.Addr     `json:"node,omitzero"` // the machine's own address, by which its pods know it
}

// Settings are those of components that the cluster's user asked for, in the order in which they apply. They were
// checked before they were stored; a file that was edited by hand can hold others, which are fail.FlagInvalid.
func (c Cluster) Settings() ([]Setting, error) {
	settings, err := ParseFeatureGates(c.FeatureGates)
	problems := []error{err}
	for _, text := range c.ExtraConfig {
		setting, err := ParseSetting(text)
		settings, problems = append(settings, setting), append(problems, err)
	}
	return settings, errors.Join(problems...)
}

// IP is the address at which the cluster is reached: in the network that its machine joined, or on this computer. It is the
// zero Addr while neither is known.
func (c Cluster) IP() netip.Addr {
	if c.NetworkAddress.IsValid() {
		return c.NetworkAddress.Addr()
	}
	return c.Address
}

// Parse reads a cluster file. Unknown fields, another kind and impossible values give fail.StateCorrupt, which wraps
// *store.OtherError where another version of skiff may be the reason, and *store.FieldError where the rest of the file is whole.
func Parse(content []byte) (Cluster, error) {
	var c Cluster
	err := store.ReadYAML(content, &c)
	if err == nil {
		err = store.MadeBy(c.check(), content)
	}
	if err != nil {
		return Cluster{}, fail.New(fail.StateCorrupt, "read the cluster file", "%w", err)
	}
	return c, nil
}

// check refuses what no cluster file of this version has.
func (c Cluster) check() error {
	switch {
	case c.APIVersion != APIVersion || c.Kind != Kind:
		err := fmt.Errorf("it is a %q of %q, not a %q of %q", c.Kind, c.APIVersion, Kind, APIVersion)
		if c.Kind == Kind && c.APIVersion != "" { // there may be more of them one day
			return &store.FieldError{Err: err}
		}
		return err
	case !c.Address.IsLoopback():
		return fmt.Errorf("address %q is not a loopback address", c.Address)
	case c.SSH != nil && (!c.SSH.Address.IsValid() || c.SSH.User == "" || c.SSH.KeyFile == "" || c.SSH.HostKey == ""):
		return errors.New("ssh: address, user, keyFile and hostKey must be there")
	case c.AutoPause < 0:
		return fmt.Errorf("autoPause: %s is less than nothing", c.AutoPause)
	case c.CertExpiration < 0:
		return fmt.Errorf("certExpiration: %s is less than nothing", c.CertExpiration)
	case c.Image == "" || c.CPUs < 1 || c.MemoryMiB < 1 || c.DiskBytes < 1:
		return errors.New("image, cpus, memoryMiB and diskBytes must be there")
	}
	return ValidateProfile(c.Profile)
}

// Marshal returns the file's content.
func (c Cluster) Marshal() ([]byte, error) {
	c.APIVersion, c.Kind = APIVersion, Kind
	return yaml.Marshal(c)
}

// profile is an RFC 1123 label: it becomes a folder, a kubeconfig context and part of names.
var profile = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`) //nolint:gochecknoglobals // compiled once, never changed

// ValidateProfile refuses names that are not RFC 1123 labels of 1 to 63 bytes, with fail.ProfileInvalid.
func ValidateProfile(name string) error {
	if profile.MatchString(name) {
		return nil
	}
	shown := []rune(name)
	length := len(shown)
	if length > 40 {
		shown = append(shown[:40], '…')
	}
	return fail.New(fail.ProfileInvalid, fmt.Sprintf("use profile %q", string(shown)), "a profile has 1 to 63 characters of a-z, 0-9 and -, and begins and ends with a letter or digit; this one has %d characters", length).WithNext("skiff profile list")
}

// Memory is an amount of memory as a user may write it: "4096" (MiB), "4g", "4096m", "2GiB" or "max".
func Memory(text string, facts host.Facts) (mib int, err error) {
	if strings.EqualFold(text, "max") {
		if facts.MemoryMiB == 0 {
			return 0, fail.New(fail.FlagInvalid, "read --memory max", "this host does not say how much memory it has").Retry("memory", strconv.Itoa(DefaultMemoryMiB(facts)))
		}
		return facts.MemoryMiB - ReservedMiB(facts), nil
	}
	bytes, err := size(text, 1<<20)
	if err != nil {
		return 0, fail.New(fail.FlagInvalid, fmt.Sprintf("read --memory %q", text), "%w; use MiB as in 4096, or 4g, or max", err).Retry("memory", strconv.Itoa(DefaultMemoryMiB(facts)))
	}
	return int(bytes >> 20), nil
}

// Disk is a disk size in bytes: "20g", "40960m"; a bare number is in MiB.
func Disk(text string) (bytes int64, err error) {
	smallest := fmt.Sprintf("%dg", MinDiskBytes>>30)
	bytes, err = size(text, 1<<20)
	if err != nil {
		return 0, fail.New(fail.FlagInvalid, fmt.Sprintf("read --disk-size %q", text), "%w; use a size such as 20g", err).Retry("disk-size", smallest)
	}
	if bytes < MinDiskBytes {
		return 0, fail.New(fail.FlagInvalid, fmt.Sprintf("read --disk-size %q", text), "the disk needs at least %s; it is sparse and takes only what is used", smallest).Retry("disk-size", smallest)
	}
	return bytes, nil
}

// CPUs is a number of processors: "2" or "max".
func CPUs(text string, facts host.Facts) (int, error) {
	if strings.EqualFold(text, "max") {
		return facts.CPUs, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fail.New(fail.FlagInvalid, fmt.Sprintf("read --cpus %q", text), "it is not a number; use one such as 2, or max").Retry("cpus", strconv.Itoa(MinCPUs))
	}
	return n, nil
}

// size parses a number with an optional unit of k, m, g or t, each a power of 1024, with or without "b" or "ib" behind.
func size(text string, unit int64) (int64, error) {
	lower := strings.ToLower(strings.TrimSpace(text))
	digits := strings.TrimRight(lower, "abcdefghijklmnopqrstuvwxyz")
	switch suffix := strings.TrimSuffix(strings.TrimSuffix(lower[len(digits):], "b"), "i"); suffix {
	case "":
		if lower != digits {
			unit = 1
		}
	case "k":
		unit = 1 << 10
	case "m":
		unit = 1 << 20
	case "g":
		unit = 1 << 30
	case "t":
		unit = 1 << 40
	default:
		return 0, fmt.Errorf("%q is not a unit", suffix)
	}
	number, err := strconv.ParseFloat(digits, 64)
	if err != nil || number < 0 || number*float64(unit) > 1<<50 {
		return 0, errors.New("it is not an amount")
	}
	return int64(number * float64(unit)), nil
}

// ReservedMiB is what the host keeps for itself: an eighth of its memory, at least 1 GiB.
func ReservedMiB(facts host.Facts) int { return max(1024, facts.MemoryMiB/8) }

// DefaultMemoryMiB is a quarter of the host's memory, within 2048 and 6144 MiB.
func DefaultMemoryMiB(facts host.Facts) int { return min(6144, max(2048, facts.MemoryMiB/4)) }

// Validate refuses a machine that Kubernetes or this host cannot carry, and reports all problems at once. With force, what
// the host lacks is no problem.
func Validate(c Cluster, facts host.Facts, force bool) error {
	op := "check the cluster's size"
	problems := []error{ValidateProfile(c.Profile)}
	if c.MemoryMiB < MinMemoryMiB {
		problems = append(problems, fail.New(fail.MemoryTooSmall, op, "--memory %d is less than the %d MiB that Kubernetes needs", c.MemoryMiB, MinMemoryMiB).
			WithNext("skiff start -p %s --memory %d", c.Profile, DefaultMemoryMiB(facts)).Retry("memory", strconv.Itoa(DefaultMemoryMiB(facts))))
	}
	if c.CPUs < MinCPUs {
		problems = append(problems, fail.New(fail.CPUsTooFew, op, "--cpus %d is less than the %d that Kubernetes needs", c.CPUs, MinCPUs).
			WithNext("skiff start -p %s --cpus %d", c.Profile, MinCPUs).Retry("cpus", strconv.Itoa(MinCPUs)))
	}
	if c.DiskBytes < MinDiskBytes {
		problems = append(problems, fail.New(fail.FlagInvalid, op, "--disk-size is less than 20g"))
	}
	if !force && c.SSH == nil { // what another machine can carry is not this host's to say
		problems = append(problems, carries(c, facts))
	}
	return errors.Join(problems...)
}

// carries says whether the host has what the cluster asks for.
func carries(c Cluster, facts host.Facts) error {
	op := "check the cluster's size"
	var problems []error
	if most := facts.MemoryMiB - ReservedMiB(facts); facts.MemoryMiB > 0 && c.MemoryMiB > most {
		problems = append(problems, fail.New(fail.HostMemoryLow, op, "--memory %d is more than this host can give: it has %d MiB and keeps %d for itself", c.MemoryMiB, facts.MemoryMiB, ReservedMiB(facts)).
			WithNext("skiff start -p %s --memory %d", c.Profile, max(most, MinMemoryMiB)).Retry("memory", strconv.Itoa(max(most, MinMemoryMiB))))
	}
	if c.CPUs > facts.CPUs {
		problems = append(problems, fail.New(fail.HostCPUsLow, op, "--cpus %d is more than the %d that this host has", c.CPUs, facts.CPUs).
			WithNext("skiff start -p %s --cpus %d", c.Profile, max(facts.CPUs, MinCPUs)).Retry("cpus", strconv.Itoa(max(facts.CPUs, MinCPUs))))
	}
	return errors.Join(problems...)
}

package fail

// ID names a kind of failure. IDs are public: never renamed, never used again for something else.
type ID string

// Kind is a row of the table of failures.
type Kind struct {
	ID     ID
	Code   int    // exit code of the process
	Title  string // what it means, one sentence
	Advice string // what to do, when the error itself knows nothing better
}

// Exit codes of the process, append-only.
const (
	CodeInternal    = 1
	CodeUsage       = 2
	CodeConfig      = 3
	CodeHost        = 4 // missing host tool, driver or permission
	CodeNotFound    = 5
	CodeConflict    = 6 // conflict, locked or wrong state
	CodeResources   = 7 // memory, disk, CPU of the host
	CodeDownload    = 8 // network or download
	CodeTimeout     = 9
	CodeGuest       = 10 // a command in the guest failed
	CodeInterrupted = 130
)

// The failures that skiff knows.
const (
	Internal              ID = "INTERNAL"
	FlagInvalid           ID = "FLAG_INVALID"
	FlagUnsupported       ID = "FLAG_UNSUPPORTED"
	ProfileInvalid        ID = "PROFILE_INVALID"
	ConfigInvalid         ID = "CONFIG_INVALID"
	ConfigUnknownKey      ID = "CONFIG_UNKNOWN_KEY"
	StateCorrupt          ID = "STATE_CORRUPT"
	StateNewer            ID = "STATE_NEWER"
	K8sVersionUnsupported ID = "K8S_VERSION_UNSUPPORTED"
	ManifestInvalid       ID = "MANIFEST_INVALID"
	DriverNotFound        ID = "DRIVER_NOT_FOUND"
	DriverUnhealthy       ID = "DRIVER_UNHEALTHY"
	LibvirtURIInvalid     ID = "LIBVIRT_URI_INVALID"
	LibvirtUnreachable    ID = "LIBVIRT_UNREACHABLE"
	LibvirtNoAccess       ID = "LIBVIRT_NO_ACCESS"
	LibvirtLost           ID = "LIBVIRT_LOST"
	LibvirtNetwork        ID = "LIBVIRT_NETWORK"
	DomainForeign         ID = "DOMAIN_FOREIGN"
	DriverCannot          ID = "DRIVER_CANNOT"
	SSHHostKeyUnknown     ID = "SSH_HOST_KEY_UNKNOWN"
	SSHHostKeyChanged     ID = "SSH_HOST_KEY_CHANGED"
	SSHLoginRefused       ID = "SSH_LOGIN_REFUSED"
	SSHUnreachable        ID = "SSH_UNREACHABLE"
	MachineNotLinux       ID = "MACHINE_NOT_LINUX"
	MachineNoSystemd      ID = "MACHINE_NO_SYSTEMD"
	MachineReadOnly       ID = "MACHINE_READ_ONLY"
	MachineUnsuitable     ID = "MACHINE_UNSUITABLE"
	MachineInUse          ID = "MACHINE_IN_USE"
	MachineTooSmall       ID = "MACHINE_TOO_SMALL"
	HomeUnusable          ID = "HOME_UNUSABLE"
	ClockWrong            ID = "CLOCK_WRONG"
	KubeconfigUnreadable  ID = "KUBECONFIG_UNREADABLE"
	KubeconfigNotWritable ID = "KUBECONFIG_NOT_WRITABLE"
	KubeconfigForeign     ID = "KUBECONFIG_FOREIGN"
	OutputFailed          ID = "OUTPUT_FAILED"
	ClusterNotFound       ID = "CLUSTER_NOT_FOUND"
	AddonNotFound         ID = "ADDON_NOT_FOUND"
	SnapshotNotFound      ID = "SNAPSHOT_NOT_FOUND"
	DashboardMissing      ID = "DASHBOARD_MISSING"
	ImageMissing          ID = "IMAGE_MISSING"
	ClusterLocked         ID = "CLUSTER_LOCKED"
	ClusterNotRunning     ID = "CLUSTER_NOT_RUNNING"
	SpecImmutable         ID = "SPEC_IMMUTABLE"
	SnapshotExists        ID = "SNAPSHOT_EXISTS"
	SnapshotMismatch      ID = "SNAPSHOT_MISMATCH"
	PortInUse             ID = "PORT_IN_USE"
	MemoryTooSmall        ID = "MEMORY_TOO_SMALL"
	HostMemoryLow         ID = "HOST_MEMORY_LOW"
	CPUsTooFew            ID = "CPUS_TOO_FEW"
	HostCPUsLow           ID = "HOST_CPUS_LOW"
	HostDiskFull          ID = "HOST_DISK_FULL"
	ChecksumMismatch      ID = "CHECKSUM_MISMATCH"
	DownloadFailed        ID = "DOWNLOAD_FAILED"
	Offline               ID = "OFFLINE"
	IndexUntrusted        ID = "INDEX_UNTRUSTED"
	IndexOlder            ID = "INDEX_OLDER"
	BootTimeout           ID = "BOOT_TIMEOUT"
	WaitTimeout           ID = "WAIT_TIMEOUT"
	AgentFailed           ID = "AGENT_FAILED"
	MachineFailed         ID = "MACHINE_FAILED"
	KubeadmFailed         ID = "KUBEADM_FAILED"
	ProvisionFailed       ID = "PROVISION_FAILED"
	NodeFailed            ID = "NODE_FAILED"
	AddonFailed           ID = "ADDON_FAILED"
	GuestDiskFull         ID = "GUEST_DISK_FULL"
	ImageRefused          ID = "IMAGE_REFUSED"
	Interrupted           ID = "INTERRUPTED"
)

// Table returns every kind of failure, in the order of the reference page.
func Table() []Kind {
	return []Kind{
		{Internal, CodeInternal, "Something failed that skiff has no better name for.", "Report it with the output of `skiff logs`."},
		{FlagInvalid, CodeUsage, "A flag, argument or its value is not understood.", "See the command's --help for the values it takes."},
		{FlagUnsupported, CodeUsage, "A minikube flag or command that has no place in skiff.", "The message names skiff's way."},
		{ProfileInvalid, CodeUsage, "The profile name cannot be used.", "Use 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit."},
		{LibvirtURIInvalid, CodeUsage, "--libvirt-uri does not name the QEMU of this host.", "Use qemu:///session or qemu:///system."},
		{ConfigInvalid, CodeConfig, "The settings file cannot be read.", "Fix the file, or remove it to return to the defaults."},
		{ConfigUnknownKey, CodeConfig, "A setting has a name that skiff does not know.", "Run `skiff config view` for the names."},
		{StateCorrupt, CodeConfig, "A file of a cluster, such as its description or its keys, cannot be used.", "The cluster's disk is untouched. Restore the file that the message names; `skiff delete` removes the cluster."},
		{StateNewer, CodeConfig, "Another version of skiff wrote a file that this version cannot read in full.", "Use that version of skiff, or a newer one. Nothing was changed, and nothing is damaged."},
		{K8sVersionUnsupported, CodeConfig, "No guest image holds that Kubernetes version.", "Leave --kubernetes-version off, or name an available version."},
		{ManifestInvalid, CodeConfig, "A manifest cannot be read or raised to a served version.", "Fix the place that the message names."},
		{DriverNotFound, CodeHost, "No driver has that name, or no driver works here.", "Name one of the drivers listed."},
		{DriverUnhealthy, CodeHost, "The driver cannot make machines on this host.", "Run the command that the message names, or use another driver."},
		{LibvirtUnreachable, CodeHost, "libvirt is not there or does not answer.", "Install or start it; a new cluster can have `--driver qemu` instead, which needs no daemon."},
		{LibvirtNoAccess, CodeHost, "libvirt refuses this user.", "Let this user in; a new cluster can have `--libvirt-uri qemu:///session` or `--driver qemu`, and neither needs a group."},
		{LibvirtLost, CodeHost, "libvirt ended in the middle of a command.", "Start it again, then run the same command again to continue."},
		{LibvirtNetwork, CodeHost, "The network of libvirt cannot be joined: it is not there or not active, or has no address for the machine.", "Run the command that the message names; `virsh net-start` starts a network."},
		{DriverCannot, CodeHost, "The machines of the cluster's driver cannot do that.", "The message names the drivers that can."},
		{SSHHostKeyUnknown, CodeHost, "The machine's SSH host key is not known yet.", "Compare the fingerprint with the machine's own, and add the key to ~/.ssh/known_hosts."},
		{SSHLoginRefused, CodeHost, "The machine does not let the user in with that key.", "Add the public key to ~/.ssh/authorized_keys on the machine."},
		{MachineNotLinux, CodeHost, "The machine does not run Linux, or runs no commands for that user.", "Use a machine with Debian 12, Ubuntu 22.04, or what comes after them; nothing was changed."},
		{MachineNoSystemd, CodeHost, "The machine was not started by systemd.", "Use a machine whose first process is systemd; nothing was changed."},
		{MachineReadOnly, CodeHost, "The machine's file systems cannot be written to.", "Mount them for writing, and see in its journal why they are not; nothing was changed."},
		{MachineUnsuitable, CodeHost, "The machine lacks what Kubernetes or skiff needs.", "The message says what; nothing was changed on the machine."},
		{HomeUnusable, CodeHost, "The folder for skiff's files is not a folder, or cannot be read or written.", "Fix its owner and mode, or set SKIFF_HOME to another folder."},
		{ClockWrong, CodeHost, "The clock of this computer cannot be right: the cluster's certificates are not valid at that time, or skiff did not exist yet.", "Set the clock and run the command again; nothing was changed."},
		{KubeconfigUnreadable, CodeHost, "The kubeconfig exists and cannot be read or parsed.", "Fix the file or set KUBECONFIG to another; it was not changed."},
		{KubeconfigNotWritable, CodeHost, "The kubeconfig cannot be written.", "Fix the owner and mode of the file; nothing was changed."},
		{OutputFailed, CodeHost, "What the command prints could not be written.", "Check that there is space where the output goes; the command itself succeeded."},
		{ClusterNotFound, CodeNotFound, "There is no cluster of that name.", "List the clusters, or start one."},
		{AddonNotFound, CodeNotFound, "No addon has that name.", "Run `skiff addons list`."},
		{SnapshotNotFound, CodeNotFound, "The cluster has no snapshot of that name.", "Run `skiff snapshot list`."},
		{ImageMissing, CodeNotFound, "The guest image is not on this machine.", "Name one with `--image`, load a bundle with `skiff bundle load FILE`, set `image-mirrors` to a place that has it, or build it with `make image`."},
		{DashboardMissing, CodeNotFound, "This skiff was built without the page of the dashboard.", "Build it with `make dashboard build`, which needs Node.js."},
		{ClusterLocked, CodeConflict, "Another command holds the cluster.", "Wait for it to end, or end it."},
		{ClusterNotRunning, CodeConflict, "The cluster exists and does not run.", "Start it."},
		{SpecImmutable, CodeConflict, "The change needs a new cluster.", "Use another profile, or delete the cluster first."},
		{DomainForeign, CodeConflict, "libvirt or VirtualBox has a machine with the name of skiff's that is not skiff's; it is left alone.", "Rename that machine, or use another profile."},
		{KubeconfigForeign, CodeConflict, "The kubeconfig has a context, cluster or user of the profile's name that is not skiff's; it is left alone.", "Use another profile, rename the context, or set KUBECONFIG to another file."},
		{SnapshotExists, CodeConflict, "The cluster already has a snapshot of that name.", "Use another name, or delete that snapshot first."},
		{SnapshotMismatch, CodeConflict, "A saved state is damaged, or was made by another QEMU or for another machine.", "The cluster boots from its disk instead; the message says what differs."},
		{SSHHostKeyChanged, CodeConflict, "The machine has another SSH host key than before.", "Find out whether the machine was reinstalled, or another machine answers at its address."},
		{MachineInUse, CodeConflict, "The machine has another Kubernetes, container runtime or cluster of skiff.", "Use another machine, or remove what is there; nothing was changed."},
		{PortInUse, CodeConflict, "A port that the cluster needs is taken.", "End the process that holds it."},
		{MemoryTooSmall, CodeResources, "That is too little memory for Kubernetes.", "Give at least 1536 MiB."},
		{HostMemoryLow, CodeResources, "The host has less memory than was asked for.", "Ask for less, or stop another cluster."},
		{CPUsTooFew, CodeResources, "Kubernetes needs at least two processors.", "Give --cpus 2 or more."},
		{HostCPUsLow, CodeResources, "The host has fewer processors than were asked for.", "Ask for fewer."},
		{HostDiskFull, CodeResources, "The host's disk is full.", "Free some space and run the same command again."},
		{MachineTooSmall, CodeResources, "The machine has too little memory, disk or processors.", "Give it more; nothing was changed."},
		{ChecksumMismatch, CodeDownload, "A file is not the one that its manifest describes.", "Build or fetch the guest image again."},
		{DownloadFailed, CodeDownload, "None of the places that were asked served what is needed.", "The message says of each place what it answered and what to do. The same command continues where the download broke off."},
		{Offline, CodeDownload, "Something is not on this computer, and the network must not be used.", "Run the command once without --offline and SKIFF_OFFLINE, or bring the guest image as a file or folder."},
		{IndexUntrusted, CodeDownload, "The list of newer guest images is not signed with a key that this skiff trusts.", "Use the image that this skiff was built with; where the project has replaced its key, install a newer skiff."},
		{IndexOlder, CodeDownload, "The list of guest images is older than one that was seen before.", "Use another mirror, or wait until this one has caught up."},
		{SSHUnreachable, CodeDownload, "The machine cannot be reached over SSH.", "Check that it runs and that the network lets you reach it, and run the same command again: it continues."},
		{BootTimeout, CodeTimeout, "The machine did not answer in time.", "Look at the guest's console."},
		{WaitTimeout, CodeTimeout, "The cluster did not become usable in time.", "The message says what was not ready; `skiff start` continues to wait."},
		{AgentFailed, CodeGuest, "The cluster's agent did not start or answer.", "Look at the agent's log."},
		{MachineFailed, CodeGuest, "The hypervisor could not do what was asked.", "Look at the machine's log."},
		{KubeadmFailed, CodeGuest, "kubeadm failed in the guest.", "Look at the step's log."},
		{ProvisionFailed, CodeGuest, "A step of the set-up failed in the guest.", "Look at the step's log."},
		{NodeFailed, CodeGuest, "Kubernetes cannot come up on the machine, as the logs of its kubelet, containerd or control plane say.", "Correct what the message names and run `skiff start` again: it continues where it was."},
		{ImageRefused, CodeGuest, "The node could not load the images of an archive.", "Recreate the archive; the message has containerd's own words."},
		{GuestDiskFull, CodeGuest, "The disk of the cluster's machine is full, or so nearly that Kubernetes takes no more pods.", "Grow the disk with `skiff start --disk-size`, or delete what is not needed in the cluster."},
		{AddonFailed, CodeGuest, "An addon could not be applied or did not become ready.", "Look at its pods."},
		{Interrupted, CodeInterrupted, "The command was interrupted.", "Run the same command again to continue."},
	}
}

// Lookup returns the row of id; an unknown one is Internal's.
func Lookup(id ID) Kind {
	table := Table()
	for _, kind := range table {
		if kind.ID == id {
			return kind
		}
	}
	return table[0]
}

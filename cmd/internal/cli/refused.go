package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/skiff-k8s/skiff/fail"
)

// refusal is a name that minikube has and skiff has not, with skiff's way in one sentence.
type refusal struct{ name, way string }

// refusedFlags are flags of `minikube start` that have no place here.
func refusedFlags() []refusal {
	const image = "--image names the guest image: a folder, a bundle or a URL."
	const offline = "Everything a cluster needs is in the guest image; --image-mirrors says where that is downloaded."
	const virtual = "The virtual network of a cluster is the agent's own and needs no setting; `skiff ip` tells its address."
	const otherDriver = "It belongs to a driver that skiff does not have; `skiff start --driver qemu` needs no such setting."
	const docker = "The container runtime is containerd, and there is no Docker daemon to set."
	return []refusal{
		{"iso-url", image}, {"base-image", image},
		{"preload-source", offline}, {"binary-mirror", offline}, {"image-mirror-country", offline}, {"image-repository", offline}, {"download-only", offline},
		{"subnet", virtual}, {"static-ip", virtual}, {"listen-address", virtual}, {"host-dns-resolver", virtual}, {"dns-proxy", virtual},
		{"socket-vmnet-client-path", virtual}, {"socket-vmnet-path", virtual},
		{"docker-env", docker}, {"docker-opt", docker}, {"cri-socket", docker},
		{"cni", "Pods are connected by the bridge plugin, which one node needs; there is no other to choose."},
		{"network-plugin", "Pods are connected by CNI, which is all that Kubernetes has left."},
		{"enable-default-cni", "Pods are connected by the bridge plugin; nothing is to be enabled."},
		{"kvm-gpu", otherDriver}, {"kvm-hidden", otherDriver}, {"kvm-numa-count", otherDriver},
		{"kvm-network", "The driver libvirt has `--network` for it."}, {"kvm-qemu-uri", "The driver libvirt has `--libvirt-uri` for it."},
		{"hyperkit-vpnkit-sock", otherDriver}, {"hyperkit-vsock-ports", otherDriver},
		{"hyperv-external-adapter", otherDriver}, {"hyperv-use-external-switch", otherDriver}, {"hyperv-virtual-switch", otherDriver},
		{"host-only-cidr", otherDriver}, {"host-only-nic-type", otherDriver}, {"nat-nic-type", otherDriver}, {"no-vtx-check", otherDriver},
		{"nfs-share", otherDriver}, {"nfs-shares-root", otherDriver}, {"uuid", otherDriver}, {"rosetta", otherDriver}, {"gpus", otherDriver},
		{"qemu-firmware-path", "The kernel is booted directly; there is no firmware to choose."},
		{"auto-update-drivers", "The drivers are part of skiff."},
		{"interactive", "skiff never asks."},
		{"native-ssh", "skiff always uses its own SSH."},
		{"trace", "skiff sends nothing anywhere; `skiff start -o json` tells every step."},
		{"extra-disks", "A cluster has one disk, which `--disk-size` sets."},
		{"ha", "A cluster has one control plane."},
	}
}

// refusedBools are those of refusedFlags that take no value.
func refusedBools() map[string]bool {
	return map[string]bool{
		"download-only": true, "dns-proxy": true, "host-dns-resolver": true, "enable-default-cni": true, "kvm-gpu": true, "kvm-hidden": true,
		"hyperv-use-external-switch": true, "no-vtx-check": true, "rosetta": true, "auto-update-drivers": true, "interactive": true,
		"native-ssh": true, "ha": true,
	}
}

// refusedEverywhere are minikube's flags of every command that have no place here.
func refusedEverywhere() []refusal {
	const logs = "Everything but data goes to stderr already; -v says more."
	return []refusal{
		{"alsologtostderr", logs}, {"logtostderr", logs}, {"log_dir", logs}, {"log_file", logs}, {"stderrthreshold", logs}, {"vmodule", logs},
		{"bootstrapper", "kubeadm is the only bootstrapper."},
		{"rootless", "skiff never needs root."},
		{"skip-audit", "skiff keeps no audit log."},
		{"user", "skiff keeps no audit log, so there is no user to name in it."},
	}
}

func refuseStart(flags *pflag.FlagSet) {
	bools := refusedBools()
	for _, one := range refusedFlags() {
		refuse(flags, one, bools[one.name])
	}
}

func refuseGlobals(flags *pflag.FlagSet) {
	bools := map[string]bool{"alsologtostderr": true, "logtostderr": true, "rootless": true, "skip-audit": true}
	for _, one := range refusedEverywhere() {
		refuse(flags, one, bools[one.name])
	}
}

const annotationWay = "skiff-way"

// refuse adds a hidden flag, so that it is known when it is used.
func refuse(flags *pflag.FlagSet, one refusal, isBool bool) {
	flags.String(one.name, "", one.way)
	flag := flags.Lookup(one.name)
	flag.Hidden = true
	flag.Annotations = map[string][]string{annotationWay: {one.way}}
	if isBool {
		flag.NoOptDefVal = "true"
	}
}

// unsupported refuses the flags of minikube that have no place here.
func unsupported(cmd *cobra.Command) error {
	var err error
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if way := flag.Annotations[annotationWay]; err == nil && len(way) > 0 {
			err = fail.New(fail.FlagUnsupported, cmd.CommandPath(), "skiff has no flag --%s", flag.Name).WithHint("%s", way[0])
		}
	})
	return err
}

// refusedCommands are minikube's commands that have no place here.
func refusedCommands() []*cobra.Command {
	var commands []*cobra.Command
	for _, one := range []refusal{
		{"cache", "Images are cached by the registry mirror of the agent, for all clusters."},
		{"podman-env", "The container runtime is containerd; use `skiff ssh -- crictl`."},
		{"ssh-key", "Use `skiff ssh`; the key belongs to skiff and may change."},
		{"ssh-host", "Use `skiff ssh`, which knows and checks the guest's host key."},
		{"update-check", "skiff asks nobody about updates; your package manager knows."},
		{"options", "The flags of every command are in `skiff --help`."},
		{"license", "The licence is the file LICENSE, and those of the parts lie beside them."},
	} {
		commands = append(commands, &cobra.Command{
			Use: one.name, Short: one.way, Hidden: true, DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error {
				return fail.New(fail.FlagUnsupported, "skiff "+one.name, "skiff has no command %s", one.name).WithHint("%s", one.way)
			},
			// It must answer whatever the state of settings and files.
			PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		})
	}
	return commands
}

// accepted are minikube's flags that need no action here.
func accepted(flags *pflag.FlagSet) {
	for _, name := range []string{"preload", "cache-images", "install-addons"} {
		flags.Bool(name, true, "accepted for compatibility with minikube")
		flags.Lookup(name).Hidden = true
	}
	flags.String("vm-driver", "", "the same as --driver")
	flags.String("container-runtime", "containerd", "containerd is the only one")
	flags.Lookup("vm-driver").Hidden, flags.Lookup("container-runtime").Hidden = true, true
}

// checkAccepted refuses the values of accepted flags that skiff cannot fulfil.
func checkAccepted(cmd *cobra.Command) error {
	runtime, _ := cmd.Flags().GetString("container-runtime")
	if runtime == "containerd" {
		return nil
	}
	return fail.New(fail.FlagUnsupported, cmd.CommandPath(), "skiff has no container runtime %q", runtime).
		WithHint("%s", fmt.Sprintf("The container runtime is containerd; leave --container-runtime=%s off.", runtime))
}

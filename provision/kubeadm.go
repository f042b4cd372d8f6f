package provision

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// tree is a YAML mapping that settings of users may reach into.
type tree = map[string]any

const (
	criSocket     = "unix:///run/containerd/containerd.sock"
	pkiDir        = "/etc/kubernetes/pki"
	kubeletClient = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	patchesDir    = "/etc/kubernetes/skiff/patches"
	clusterName   = "kubernetes" // kubeadm's default: nothing in the machine has the profile's name, which it may get later
)

// Kubeadm returns the configuration for "kubeadm init": four YAML documents (kubeadm.k8s.io/v1beta4 and the kubelet's
// and kube-proxy's own). It fails when a setting of a component cannot be placed.
func (c Config) Kubeadm() ([]byte, error) {
	kubelet, err := c.kubelet()
	if err != nil {
		return nil, err
	}
	proxy, err := c.proxy()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for i, document := range []tree{c.initConfiguration(), c.clusterConfiguration(), kubelet, proxy} {
		content, err := yaml.Marshal(document)
		if err != nil {
			return nil, fmt.Errorf("write kubeadm's configuration: %w", err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(content)
	}
	return out.Bytes(), nil
}

func (c Config) initConfiguration() tree {
	config := tree{
		"apiVersion":       "kubeadm.k8s.io/v1beta4",
		"kind":             "InitConfiguration",
		"localAPIEndpoint": tree{"advertiseAddress": c.NodeAddress.String(), "bindPort": APIServerPort},
		"nodeRegistration": tree{
			"name":            c.NodeName,
			"criSocket":       criSocket,
			"imagePullPolicy": "IfNotPresent",
			"taints":          []any{}, // the only node runs everything
		},
	}
	if len(c.patches()) > 0 {
		config["patches"] = tree{"directory": patchesDir}
	}
	if len(c.Tuning.Timeouts) > 0 {
		timeouts := tree{}
		for name, limit := range c.Tuning.Timeouts {
			timeouts[name] = limit.String()
		}
		config["timeouts"] = timeouts
	}
	return config
}

func (c Config) clusterConfiguration() tree {
	life := c.CertificateLife.String()
	manager := tree{
		"extraArgs": c.args("controller-manager",
			"leader-elect", "false", // there is one
			"profiling", "false",
			"kube-api-qps", "200",
			"kube-api-burst", "400",
			"node-cidr-mask-size", strconv.Itoa(24),
			"tls-cert-file", pkiDir+"/"+managerServer+".crt",
			"tls-private-key-file", pkiDir+"/"+managerServer+".key",
		),
	}
	scheduler := tree{
		"extraArgs": c.args("scheduler",
			"leader-elect", "false",
			"profiling", "false",
			"kube-api-qps", "200",
			"kube-api-burst", "400",
			"tls-cert-file", pkiDir+"/"+schedulerServer+".crt",
			"tls-private-key-file", pkiDir+"/"+schedulerServer+".key",
		),
		"extraVolumes": []any{
			volume("serving-cert", pkiDir+"/"+schedulerServer+".crt"), volume("serving-key", pkiDir+"/"+schedulerServer+".key"),
		},
	}
	etcd := tree{
		"imageTag":  c.EtcdVersion,
		"dataDir":   "/var/lib/etcd",
		"extraArgs": c.args("etcd", c.etcdFlags()...),
	}
	if processors := c.processors(); processors != "" {
		for _, component := range []tree{manager, scheduler, etcd} {
			component["extraEnvs"] = []any{tree{"name": goProcessors, "value": processors}}
		}
	}
	return tree{
		"apiVersion":                "kubeadm.k8s.io/v1beta4",
		"kind":                      "ClusterConfiguration",
		"clusterName":               clusterName,
		"kubernetesVersion":         c.KubernetesVersion,
		"imageRepository":           "registry.k8s.io",
		"certificatesDir":           pkiDir,
		"encryptionAlgorithm":       "ECDSA-P256",
		"certificateValidityPeriod": life,
		"networking": tree{
			"podSubnet": c.PodCIDR.String(), "serviceSubnet": c.ServiceCIDR.String(), "dnsDomain": c.DNSDomain,
		},
		"apiServer": tree{
			"certSANs": c.certSANs(),
			"extraArgs": c.args("apiserver",
				"profiling", "false",
			),
		},
		"controllerManager": manager,
		"scheduler":         scheduler,
		"etcd":              tree{"local": etcd},
		"dns":               tree{"imageRepository": "registry.k8s.io/coredns", "imageTag": c.CoreDNSVersion},
	}
}

// goProcessors is the variable by which a Go program knows how many processors it is to use.
const goProcessors = "GOMAXPROCS"

func (c Config) etcdFlags() []string {
	if c.Tuning.Progress == 0 {
		return nil
	}
	return []string{"watch-progress-notify-interval", c.Tuning.Progress.String()}
}

// patches changes in kubeadm's static pods what its configuration has no word for: how often three components are asked whether
// they are ready. Nobody waits for the answer, as there is one of each.
func (c Config) patches() []File {
	if c.Tuning.Readiness == 0 {
		return nil
	}
	var files []File
	for _, component := range []string{"etcd", "kube-apiserver", "kube-scheduler"} {
		files = append(files, File{
			Path: patchesDir + "/" + component + "+strategic.yaml", Mode: 0o600,
			Body: fmt.Appendf(nil, "spec:\n  containers:\n  - name: %s\n    readinessProbe:\n      periodSeconds: %d\n", component, int(c.Tuning.Readiness.Seconds())),
		})
	}
	return files
}

func volume(name, path string) tree {
	return tree{"name": name, "hostPath": path, "mountPath": path, "readOnly": true, "pathType": "File"}
}

// certSANs are the names beyond those that kubeadm adds by itself.
func (c Config) certSANs() []string {
	sans := []string{"localhost", "127.0.0.1", c.HostAddress.String()}
	sans = append(sans, c.APIServerNames...)
	for _, ip := range c.APIServerIPs {
		sans = append(sans, ip.String())
	}
	return unique(sans)
}

// args are flags of a static pod: ours, then the user's, which replace ours of the same name.
func (c Config) args(component string, pairs ...string) []any {
	list := []any{}
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, tree{"name": pairs[i], "value": pairs[i+1]})
	}
	for _, arg := range c.extra(component) {
		list = setArg(list, arg)
	}
	return list
}

func setArg(list []any, arg Arg) []any {
	for _, item := range list {
		if item := item.(tree); item["name"] == arg.Key {
			item["value"] = arg.Value
			return list
		}
	}
	return append(list, tree{"name": arg.Key, "value": arg.Value})
}

// kubelet is complete, so that the file which the kubelet reads and the one in the cluster need no help of kubeadm. It leaves
// out nodeStatusUpdateFrequency: written down, even with its default, it is also how often a status without news is reported,
// instead of every five minutes (kubelet.config.k8s.io/v1beta1, nodeStatusReportFrequency).
func (c Config) kubelet() (tree, error) {
	config := tree{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",
		"authentication": tree{
			"anonymous": tree{"enabled": false},
			"webhook":   tree{"enabled": true, "cacheTTL": "2m0s"},
			"x509":      tree{"clientCAFile": pkiDir + "/ca.crt"},
		},
		"authorization":            tree{"mode": "Webhook"},
		"cgroupDriver":             "systemd",
		"clusterDNS":               []any{c.DNSAddress().String()},
		"clusterDomain":            c.DNSDomain,
		"containerRuntimeEndpoint": criSocket,
		// A component that ends because another is not there yet is to come back soon, not after minutes.
		"crashLoopBackOff": tree{"maxContainerRestartPeriod": "2s"},
		// Written down in full, because a user's setting for one signal would switch off the kubelet's defaults for all others.
		// Images and all else are on one disk: unused images go before a pod must.
		"evictionHard": tree{
			"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "10%", "imagefs.inodesFree": "5%",
		},
		// The default of five minutes is for clusters that have other nodes: here nothing is scheduled until it is over.
		"evictionPressureTransitionPeriod": "30s",

		"imageGCHighThresholdPercent": 85,
		"imageGCLowThresholdPercent":  75,

		"failSwapOn":         false,
		"healthzBindAddress": "127.0.0.1",
		"healthzPort":        10248,
		// The default, NeverVerifyPreloadedImages, asks for a pull record of every image that the kubelet ever tried to pull:
		// one Always pull that fails without a network, or that a power loss cuts off, then keeps an image that was loaded from
		// all other pods. This cluster has one user, so no pod needs to be kept from another's images.
		"imagePullCredentialsVerificationPolicy": "NeverVerify",
		"maxParallelImagePulls":                  2,
		"registerWithTaints":                     []any{},
		"rotateCertificates":                     true,
		"serializeImagePulls":                    false,
		"staticPodPath":                          "/etc/kubernetes/manifests",
	}
	return config, place(config, c.extra("kubelet"))
}

func (c Config) proxy() (tree, error) {
	config := tree{
		"apiVersion":  "kubeproxy.config.k8s.io/v1alpha1",
		"kind":        "KubeProxyConfiguration",
		"mode":        "nftables",
		"clusterCIDR": c.PodCIDR.String(),
		// 0 leaves the kernel's limits as they are: a container may not write them.
		"conntrack":        tree{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
		"clientConnection": tree{"kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf"},
		"nftables":         tree{"minSyncPeriod": "100ms", "syncPeriod": "30s"},
	}
	return config, place(config, c.extra("proxy"))
}

// place puts settings such as "featureGates.SomeFeature" into a configuration. Values are read as YAML, so that
// true and 3 are no strings.
func place(config tree, args []Arg) error {
	for _, arg := range args {
		var value any
		if err := yaml.Unmarshal([]byte(arg.Value), &value); err != nil {
			return fmt.Errorf("setting %s.%s: %w", arg.Component, arg.Key, err)
		}
		keys := steps(arg.Key)
		at := config
		for i, key := range keys[:len(keys)-1] {
			switch next := at[key].(type) {
			case tree:
				at = next
			case nil:
				inner := tree{}
				at[key] = inner
				at = inner
			default:
				return fmt.Errorf("setting %s.%s: %q has no fields", arg.Component, arg.Key, strings.Join(keys[:i+1], "."))
			}
		}
		at[keys[len(keys)-1]] = value
	}
	return nil
}

// steps splits a setting's name. Names of signals, as in "evictionHard.memory.available", have dots of their own.
func steps(key string) []string {
	if first, signal, ok := strings.Cut(key, "."); ok && strings.HasPrefix(first, "eviction") {
		return []string{first, signal}
	}
	return strings.Split(key, ".")
}

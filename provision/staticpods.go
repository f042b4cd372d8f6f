package provision

import (
	"cmp"
	"fmt"
	"slices"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

const (
	manifestDir = "/etc/kubernetes/manifests"
	// probePort is the name that kubeadm gives the port of probes.
	probePort = "probe-port"
	// criticalPriority is that of system-node-critical, which the kubelet cannot look up while there is no API server.
	criticalPriority = 2000001000
)

// component is a part of the control plane, as kubeadm would run it (v1.37.2, app/phases/controlplane/manifests.go,
// app/phases/etcd/local.go, app/util/staticpod/utils.go). That the pods are kubeadm's is tested against its own output.
type component struct {
	name      string
	image     string
	flags     map[string]string
	overrides []any // of the kubeadm configuration: name and value
	host      string
	port      int32
	scheme    core.URIScheme
	startup   string // path of the startup probe
	live      string
	ready     string // empty: none
	cpu       string
	memory    string
	mounts    []core.VolumeMount
	files     map[string]core.HostPathType // type of a mount's source, when it is not a folder
	notes     map[string]string
}

// components returns etcd and the API server, and then those that need an API server.
func (c Config) components() (first, second []component) {
	cluster := c.clusterConfiguration()
	overrides := func(name string) []any { return cluster[name].(tree)["extraArgs"].([]any) }
	return []component{c.etcd(cluster["etcd"].(tree)["local"].(tree)["extraArgs"].([]any)), c.apiServer(overrides("apiServer"))},
		[]component{c.controllerManager(overrides("controllerManager")), c.scheduler(overrides("scheduler"))}
}

func (c Config) kubernetesImage(name string) string {
	return "registry.k8s.io/" + name + ":" + c.KubernetesVersion
}

func (c Config) etcd(overrides []any) component {
	client, peer, certs := "https://"+c.NodeAddress.String()+":2379", "https://"+c.NodeAddress.String()+":2380", pkiDir+"/etcd"
	return component{
		name: "etcd", image: "registry.k8s.io/etcd:" + c.EtcdVersion,
		flags: map[string]string{
			"name": c.NodeName, "data-dir": "/var/lib/etcd", "snapshot-count": "10000", "feature-gates": "InitialCorruptCheck=true",
			"watch-progress-notify-interval": "5s", "listen-client-urls": "https://127.0.0.1:2379," + client,
			"advertise-client-urls": client, "listen-peer-urls": peer, "initial-advertise-peer-urls": peer,
			"initial-cluster": c.NodeName + "=" + peer, "listen-metrics-urls": "http://127.0.0.1:2381",
			"cert-file": certs + "/server.crt", "key-file": certs + "/server.key", "trusted-ca-file": certs + "/ca.crt", "client-cert-auth": "true",
			"peer-cert-file": certs + "/peer.crt", "peer-key-file": certs + "/peer.key", "peer-trusted-ca-file": certs + "/ca.crt",
			"peer-client-cert-auth": "true",
		},
		overrides: overrides,
		host:      "127.0.0.1", port: 2381, scheme: core.URISchemeHTTP, startup: "/readyz", live: "/livez", ready: "/readyz",
		cpu: "100m", memory: "100Mi",
		mounts: []core.VolumeMount{{Name: "etcd-data", MountPath: "/var/lib/etcd"}, {Name: "etcd-certs", MountPath: certs}},
		notes:  map[string]string{"kubeadm.kubernetes.io/etcd.advertise-client-urls": client},
	}
}

func (c Config) apiServer(overrides []any) component {
	pki := func(file string) string { return pkiDir + "/" + file }
	return component{
		name: "kube-apiserver", image: c.kubernetesImage("kube-apiserver"),
		flags: map[string]string{
			"advertise-address": c.NodeAddress.String(), "secure-port": fmt.Sprint(APIServerPort), "allow-privileged": "true",
			"authorization-mode": "Node,RBAC", "enable-admission-plugins": "NodeRestriction", "enable-bootstrap-token-auth": "true",
			"client-ca-file": pki("ca.crt"), "tls-cert-file": pki("apiserver.crt"), "tls-private-key-file": pki("apiserver.key"),
			"etcd-servers": "https://127.0.0.1:2379", "etcd-cafile": pki("etcd/ca.crt"),
			"etcd-certfile": pki("apiserver-etcd-client.crt"), "etcd-keyfile": pki("apiserver-etcd-client.key"),
			"kubelet-client-certificate": pki("apiserver-kubelet-client.crt"), "kubelet-client-key": pki("apiserver-kubelet-client.key"),
			"kubelet-preferred-address-types": "InternalIP,ExternalIP,Hostname",
			"proxy-client-cert-file":          pki("front-proxy-client.crt"), "proxy-client-key-file": pki("front-proxy-client.key"),
			"requestheader-allowed-names": "front-proxy-client", "requestheader-client-ca-file": pki("front-proxy-ca.crt"),
			"requestheader-extra-headers-prefix": "X-Remote-Extra-", "requestheader-group-headers": "X-Remote-Group",
			"requestheader-username-headers": "X-Remote-User",
			"service-account-issuer":         "https://kubernetes.default.svc." + c.DNSDomain, "service-account-key-file": pki("sa.pub"),
			"service-account-signing-key-file": pki("sa.key"), "service-cluster-ip-range": c.ServiceCIDR.String(),
		},
		overrides: overrides,
		host:      c.NodeAddress.String(), port: APIServerPort, scheme: core.URISchemeHTTPS, startup: "/livez", live: "/livez", ready: "/readyz",
		cpu:    "250m",
		mounts: []core.VolumeMount{readOnly("ca-certs", "/etc/ssl/certs"), readOnly("k8s-certs", pkiDir)},
		notes: map[string]string{
			"kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint": fmt.Sprintf("%s:%d", c.NodeAddress, APIServerPort),
		},
	}
}

func (c Config) controllerManager(overrides []any) component {
	const kubeconfig = "/etc/kubernetes/controller-manager.conf"
	return component{
		name: "kube-controller-manager", image: c.kubernetesImage("kube-controller-manager"),
		flags: map[string]string{
			"allocate-node-cidrs": "true", "cluster-cidr": c.PodCIDR.String(), "service-cluster-ip-range": c.ServiceCIDR.String(),
			"authentication-kubeconfig": kubeconfig, "authorization-kubeconfig": kubeconfig, "kubeconfig": kubeconfig,
			"bind-address": "127.0.0.1", "leader-elect": "true", "use-service-account-credentials": "true",
			"client-ca-file": pkiDir + "/ca.crt", "root-ca-file": pkiDir + "/ca.crt", "requestheader-client-ca-file": pkiDir + "/front-proxy-ca.crt",
			"cluster-name": c.ClusterName, "cluster-signing-cert-file": pkiDir + "/ca.crt", "cluster-signing-key-file": pkiDir + "/ca.key",
			"service-account-private-key-file": pkiDir + "/sa.key", "controllers": "*,bootstrapsigner,tokencleaner",
		},
		overrides: overrides,
		host:      "127.0.0.1", port: 10257, scheme: core.URISchemeHTTPS, startup: "/healthz", live: "/healthz",
		cpu:    "200m",
		mounts: []core.VolumeMount{readOnly("ca-certs", "/etc/ssl/certs"), readOnly("k8s-certs", pkiDir), readOnly("kubeconfig", kubeconfig)},
		files:  map[string]core.HostPathType{"kubeconfig": core.HostPathFileOrCreate},
	}
}

func (c Config) scheduler(overrides []any) component {
	const kubeconfig = "/etc/kubernetes/scheduler.conf"
	return component{
		name: "kube-scheduler", image: c.kubernetesImage("kube-scheduler"),
		flags: map[string]string{
			"authentication-kubeconfig": kubeconfig, "authorization-kubeconfig": kubeconfig, "kubeconfig": kubeconfig,
			"bind-address": "127.0.0.1", "leader-elect": "true",
		},
		overrides: overrides,
		host:      "127.0.0.1", port: 10259, scheme: core.URISchemeHTTPS, startup: "/livez", live: "/livez", ready: "/readyz",
		cpu: "100m",
		mounts: []core.VolumeMount{
			readOnly("kubeconfig", kubeconfig),
			readOnly("serving-cert", pkiDir+"/"+schedulerServer+".crt"), readOnly("serving-key", pkiDir+"/"+schedulerServer+".key"),
		},
		files: map[string]core.HostPathType{
			"kubeconfig": core.HostPathFileOrCreate, "serving-cert": core.HostPathFile, "serving-key": core.HostPathFile,
		},
	}
}

func readOnly(name, path string) core.VolumeMount {
	return core.VolumeMount{Name: name, MountPath: path, ReadOnly: true}
}

// command is kubeadm's order: its own flags by name, but for those that are set otherwise, which follow as they are
// given (app/util/arguments.go, ArgumentsToCommand).
func (c component) command() []string {
	var own, set []string
	replaced := map[string]bool{}
	for _, item := range c.overrides {
		name := item.(tree)["name"].(string)
		replaced[name] = true
		set = append(set, "--"+name+"="+item.(tree)["value"].(string))
	}
	for name, value := range c.flags {
		if !replaced[name] {
			own = append(own, "--"+name+"="+value)
		}
	}
	slices.Sort(own)
	return slices.Concat([]string{c.name}, own, set)
}

func (c component) probe(path string, delay, period, failures int32) *core.Probe {
	return &core.Probe{
		ProbeHandler: core.ProbeHandler{HTTPGet: &core.HTTPGetAction{
			Host: c.host, Path: path, Port: intstr.FromString(probePort), Scheme: c.scheme,
		}},
		InitialDelaySeconds: delay, PeriodSeconds: period, FailureThreshold: failures, TimeoutSeconds: 15,
	}
}

// startupFailures times ten seconds is kubeadm's timeout for a component's health.
const startupFailures = 60

func (c component) pod() core.Pod {
	container := core.Container{
		Name: c.name, Image: c.image, ImagePullPolicy: core.PullIfNotPresent, Command: c.command(), VolumeMounts: c.mounts,
		LivenessProbe: c.probe(c.live, 10, 10, 8),
		StartupProbe:  c.probe(c.startup, 10, 10, startupFailures),
		Resources:     core.ResourceRequirements{Requests: core.ResourceList{core.ResourceCPU: resource.MustParse(c.cpu)}},
		Ports:         []core.ContainerPort{{Name: probePort, ContainerPort: c.port, Protocol: core.ProtocolTCP}},
	}
	if c.ready != "" {
		container.ReadinessProbe = c.probe(c.ready, 0, 1, 3)
	}
	if c.memory != "" {
		container.Resources.Requests[core.ResourceMemory] = resource.MustParse(c.memory)
	}
	priority := int32(criticalPriority)
	pod := core.Pod{
		TypeMeta: meta.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: meta.ObjectMeta{
			Name: c.name, Namespace: meta.NamespaceSystem, Annotations: c.notes,
			Labels: map[string]string{"component": c.name, "tier": "control-plane"},
		},
		Spec: core.PodSpec{
			Containers: []core.Container{container}, Priority: &priority, PriorityClassName: "system-node-critical", HostNetwork: true,
			SecurityContext: &core.PodSecurityContext{SeccompProfile: &core.SeccompProfile{Type: core.SeccompProfileTypeRuntimeDefault}},
		},
	}
	for _, mount := range c.mounts {
		kind, ok := c.files[mount.Name]
		if !ok {
			kind = core.HostPathDirectoryOrCreate
		}
		pod.Spec.Volumes = append(pod.Spec.Volumes, core.Volume{
			Name: mount.Name, VolumeSource: core.VolumeSource{HostPath: &core.HostPathVolumeSource{Path: mount.MountPath, Type: &kind}},
		})
	}
	slices.SortFunc(pod.Spec.Volumes, func(a, b core.Volume) int { return cmp.Compare(a.Name, b.Name) })
	return pod
}

// staticPods returns the manifests of components, where the kubelet looks for them.
func staticPods(components []component) ([]File, error) {
	var files []File
	for _, c := range components {
		content, err := yaml.Marshal(c.pod())
		if err != nil {
			return nil, fmt.Errorf("write manifest of %s: %w", c.name, err)
		}
		files = append(files, File{Path: manifestDir + "/" + c.name + ".yaml", Mode: 0o600, Body: content})
	}
	return files, nil
}

package build

import (
	"os"
	"path/filepath"
)

// programs says where the programs for the images lie on the host, by component.
type programs func(component, file string) string

// containers returns every image that clusters find without a network. Names and tags are those that kubeadm and the addons
// ask for; the content is built here.
func containers(program programs, nft []entry, certificates string) []container {
	const bin = "/usr/local/bin/"
	kube := layer{name: "kube", entries: []entry{{path: bin + "kube", mode: 0o755, from: program("kubernetes", "kube")}}}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler"} {
		kube.entries = append(kube.entries, entry{path: bin + name, link: "kube"})
	}
	base := baseLayer(certificates)
	single := func(component, file, at string) layer {
		return layer{name: file, entries: []entry{{path: at, mode: 0o755, from: program(component, file)}}}
	}
	kubernetes := func(name string, more ...layer) container {
		return container{
			reference: "registry.k8s.io/" + name + ":" + KubernetesVersion, entrypoint: []string{bin + name},
			layers: append([]layer{base, kube}, more...),
		}
	}
	return []container{
		{
			reference: "registry.k8s.io/pause:" + pauseVersion, entrypoint: []string{"/pause"}, user: "65535:65535",
			layers: []layer{single("pause", "pause", "/pause")},
		},
		kubernetes("kube-apiserver"),
		kubernetes("kube-controller-manager"),
		kubernetes("kube-scheduler"),
		kubernetes("kube-proxy", layer{name: "nft", entries: nft}),
		{
			reference: "registry.k8s.io/etcd:" + etcdVersion, entrypoint: []string{bin + "etcd"},
			layers: []layer{base, single("etcd", "etcd", bin+"etcd")}, ports: []string{"2379/tcp", "2380/tcp"},
		},
		{
			reference: "registry.k8s.io/coredns/coredns:v" + corednsVersion, entrypoint: []string{"/coredns"}, user: nobody,
			layers: []layer{base, single("coredns", "coredns", "/coredns")}, ports: []string{"53/tcp", "53/udp"},
		},
		{
			reference: "docker.io/library/traefik:v" + traefikVersion, entrypoint: []string{bin + "traefik"},
			layers: []layer{base, single("traefik", "traefik", bin+"traefik")}, ports: []string{"80/tcp"},
		},
		{
			reference: "docker.io/kennship/http-echo:latest", entrypoint: []string{"/http-echo"}, user: nobody,
			layers: []layer{single("http-echo", "http-echo", "/http-echo")}, ports: []string{"3000/tcp"}, standIn: true,
		},
	}
}

// baseLayer is what programs expect to find on any system: names for users, a folder for temporary files, certificates.
func baseLayer(certificates string) layer {
	return layer{name: "base", entries: []entry{
		{path: "/etc/group", mode: 0o644, text: "root:x:0:\nnonroot:x:65532:\n"},
		{path: "/etc/nsswitch.conf", mode: 0o644, text: "hosts: files dns\n"},
		{path: "/etc/passwd", mode: 0o644, text: "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"},
		{path: "/etc/ssl/certs/ca-certificates.crt", mode: 0o644, from: certificates},
		{path: "/tmp", mode: 0o1777, folder: true},
	}}
}

// nftEntries returns what kube-proxy needs of the Debian root file system at root: nft, the libraries that it needs, and the
// names of protocols. Without the names nft prints the elements of kube-proxy's maps as "10.96.0.1 . 6 . 443", where kube-proxy
// wrote "10.96.0.1 . tcp . 443". A kube-proxy that starts again then takes every element for a leftover and deletes it
// (readOrReset and cleanupLeftoverKeys in Kubernetes' pkg/proxy/nftables/proxier.go), and no Service answers any more.
func nftEntries(root string) ([]entry, error) {
	const program, protocols = "/usr/sbin/nft", "/etc/protocols"
	libraries, err := needed(root, program)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(root, protocols)); err != nil {
		return nil, err
	}
	entries := []entry{
		{path: protocols, mode: 0o644, from: filepath.Join(root, protocols)},
		{path: program, mode: 0o755, from: filepath.Join(root, program)},
	}
	for _, library := range libraries {
		entries = append(entries, entry{path: library.path, mode: 0o755, from: library.file})
	}
	return entries, nil
}

package provision

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// addKubeconfigs makes the kubeconfigs of the components, and the administrator's for the host. All hold their keys, so
// that each is one file, but for the kubelet's.
func (p *PKI) addKubeconfigs(config Config) error {
	for _, k := range []struct{ file, cert, user, server string }{
		{"admin.conf", adminCert, "kubernetes-admin", config.nodeURL()},
		{"super-admin.conf", superAdminCert, "kubernetes-super-admin", config.nodeURL()},
		{"controller-manager.conf", managerCert, "system:kube-controller-manager", config.nodeURL()},
		{"scheduler.conf", schedulerCert, "system:kube-scheduler", config.nodeURL()},
		{"kubelet.conf", kubeletCert, "system:node:" + config.NodeName, config.nodeURL()},
		{"kubeconfig", adminCert, config.ClusterName, config.hostURL()},
	} {
		cluster := clusterName
		if k.file == "kubeconfig" {
			cluster = config.ClusterName
		}
		content, err := clientcmd.Write(p.kubeconfig(k.server, cluster, k.user, k.cert))
		if err != nil {
			return fmt.Errorf("make kubeconfig %q: %w", k.file, err)
		}
		p.files[k.file] = content
	}
	return nil
}

func (p *PKI) kubeconfig(server, cluster, user, cert string) api.Config {
	auth := &api.AuthInfo{ClientCertificateData: p.files[cert+".crt"], ClientKeyData: p.files[cert+".key"]}
	if cert == kubeletCert { // the kubelet renews it by itself
		auth = &api.AuthInfo{ClientCertificate: kubeletClient, ClientKey: kubeletClient}
	}
	context := user + "@" + cluster // kubeadm's name
	if user == cluster {
		context = user
	}
	return api.Config{
		Clusters:       map[string]*api.Cluster{cluster: {Server: server, CertificateAuthorityData: p.ca()}},
		AuthInfos:      map[string]*api.AuthInfo{user: auth},
		Contexts:       map[string]*api.Context{context: {Cluster: cluster, AuthInfo: user}},
		CurrentContext: context,
	}
}

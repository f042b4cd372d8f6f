package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/kubeconfig"
)

// ownKubeconfig is the cluster's own kubeconfig; nil where it has none yet, or none any more.
func (m *Manager) ownKubeconfig(profile string) []byte {
	own, err := os.ReadFile(m.Home.Cluster(profile).Kubeconfig())
	if err != nil {
		return nil
	}
	return own
}

// dropContext takes the cluster out of the user's kubeconfig. It needs the cluster's files, where they are still there, to
// know what is its own.
func (m *Manager) dropContext(ctx context.Context, profile string) error {
	return kubeconfig.Remove(ctx, m.Kubeconfig, profile, m.ownKubeconfig(profile))
}

// free refuses a profile whose name the user's kubeconfig has for something else.
func (m *Manager) free(profile string, exists bool) error {
	return foreign(kubeconfig.Conflict(m.Kubeconfig, profile, m.ownKubeconfig(profile)), profile, exists)
}

// foreign makes the error of an entry that is not skiff's one with a way out: a context can be renamed, a new cluster have
// another name, and an existing one be in another file.
func foreign(err error, profile string, exists bool) error {
	found, ok := errors.AsType[*kubeconfig.Foreign](err)
	if !ok {
		return err
	}
	refused := fail.New(fail.KubeconfigForeign, "start cluster "+profile, "%w; nothing of it is changed", found)
	other := profile + "-2"
	switch {
	case found.ContextOnly:
		return refused.WithHint("Give that context another name, or the cluster.").
			WithNext("kubectl config rename-context %s %s", profile, found.Renamed)
	case !exists && config.ValidateProfile(other) == nil:
		return refused.WithHint("Give the cluster another name.").WithNext("skiff start -p %s", other)
	}
	return refused.WithHint("Let skiff write into another file; kubectl reads it with the same KUBECONFIG.").
		WithNext("KUBECONFIG=%s skiff start -p %s", machine.Quote(fmt.Sprintf("%s-skiff", found.File)), profile)
}

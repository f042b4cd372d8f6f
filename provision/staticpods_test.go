package provision

import (
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestStaticPodsAreKubeadms compares with what kubeadm v1.37.2 wrote for testdata/kubeadm-extra.golden:
//
//	kubeadm init phase etcd local --config kubeadm-extra.golden --dry-run
//	kubeadm init phase control-plane all --config kubeadm-extra.golden --dry-run
func TestStaticPodsAreKubeadms(t *testing.T) {
	t.Parallel()
	first, second := extraConfig().components()
	files, err := staticPods(slices.Concat(first, second))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 4 {
		t.Fatalf("got %d manifests, want 4", len(files))
	}
	for _, f := range files {
		wanted, err := os.ReadFile("testdata/kubeadm-manifests/" + path.Base(f.Path))
		if err != nil {
			t.Fatal(err)
		}
		got, want := parsePod(t, f.Body), parsePod(t, wanted)
		withoutHostsFolders(&want)
		slices.SortFunc(got.Spec.Containers[0].VolumeMounts, byName)
		slices.SortFunc(want.Spec.Containers[0].VolumeMounts, byName)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -kubeadm +ours\n%s", f.Path, diff)
		}
	}
}

func byName(a, b core.VolumeMount) int { return strings.Compare(a.Name, b.Name) }

func parsePod(t *testing.T, content []byte) core.Pod {
	t.Helper()
	var pod core.Pod
	if err := yaml.UnmarshalStrict(content, &pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

// withoutHostsFolders takes out folders of certificates that kubeadm mounts when the host it runs on has them.
func withoutHostsFolders(pod *core.Pod) {
	extra := []string{"etc-ca-certificates", "usr-local-share-ca-certificates", "usr-share-ca-certificates"}
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v core.Volume) bool { return slices.Contains(extra, v.Name) })
	c := &pod.Spec.Containers[0]
	c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m core.VolumeMount) bool { return slices.Contains(extra, m.Name) })
}

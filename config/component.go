package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/skiff-k8s/skiff/fail"
)

// Components are the parts of Kubernetes that take settings of a user's, by minikube's names.
func Components() []string {
	return []string{"kubelet", "apiserver", "controller-manager", "scheduler", "etcd", "proxy"}
}

// Setting is one setting of one component.
type Setting struct {
	Component string // one of Components
	Key       string // a flag without its dashes; for kubelet and proxy a field of their configuration, dots for nesting
	Value     string
}

// ParseSetting reads "component.key=value", the form of --extra-config. The kubelet and kube-proxy have files in place of
// flags: a flag's name becomes that of the field, max-pods is maxPods. What it refuses is fail.FlagInvalid.
func ParseSetting(text string) (Setting, error) {
	refuse := func(why string, args ...any) (Setting, error) {
		return Setting{}, fail.New(fail.FlagInvalid, fmt.Sprintf("read --extra-config %q", text), why, args...).About("extra-config")
	}
	name, value, ok := strings.Cut(text, "=")
	component, key, dotted := strings.Cut(name, ".")
	switch {
	case !ok || !dotted || key == "":
		return refuse("it is not component.key=value, as in apiserver.v=4")
	case component == "kubeadm":
		return refuse("skiff decides what kubeadm is told; the components that take settings are: %s", strings.Join(Components(), ", "))
	case !slices.Contains(Components(), component):
		return refuse("%q is none of: %s", component, strings.Join(Components(), ", "))
	case strings.ContainsFunc(name, func(r rune) bool { return !inName(r) }):
		return refuse("%q is no name of a setting", key)
	}
	key = strings.TrimLeft(key, "-")
	if component == "kubelet" || component == "proxy" { // these have fields
		key = camel(key)
	}
	return Setting{component, key, value}, nil
}

// ParseFeatureGates reads "A=true,B=false", the form of --feature-gates, as settings of every component of Kubernetes.
// What it refuses is fail.FlagInvalid.
func ParseFeatureGates(gates []string) ([]Setting, error) {
	if len(gates) == 0 {
		return nil, nil
	}
	settings := []Setting{}
	for _, gate := range gates {
		name, value, _ := strings.Cut(gate, "=")
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !inName(r) || r == '.' || r == '-' }) || value != "true" && value != "false" {
			return nil, fail.New(fail.FlagInvalid, fmt.Sprintf("read --feature-gates %q", gate), "it is not Name=true or Name=false").About("feature-gates")
		}
		settings = append(settings, Setting{"kubelet", "featureGates." + name, value}, Setting{"proxy", "featureGates." + name, value})
	}
	for _, component := range []string{"apiserver", "controller-manager", "scheduler"} {
		settings = append(settings, Setting{component, "feature-gates", strings.Join(gates, ",")})
	}
	return settings, nil
}

func inName(r rune) bool {
	return r == '.' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// camel is max-pods as maxPods.
func camel(name string) string {
	first, rest, _ := strings.Cut(name, "-")
	for word := range strings.SplitSeq(rest, "-") {
		if word != "" {
			first += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return first
}

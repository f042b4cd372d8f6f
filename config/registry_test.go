package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
)

func TestRegistries(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"": {}, "none": {}, "registry.lan:5000": {"registry.lan:5000"}, "Registry.LAN 10.1.0.0/16 registry.lan": {"registry.lan", "10.1.0.0/16"},
		"10.1.2.3:5000 192.0.2.7 [fd00::7]:5000 fd00::/8": {"10.1.2.3:5000", "192.0.2.7", "[fd00::7]:5000", "fd00::/8"},
	} {
		if got, err := config.ParseRegistries(strings.Fields(text)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %v and error %v, want %v", text, got, err, want)
		}
	}
	for text, why := range map[string]string{
		"http://registry.lan:5000": "begins with a scheme", "registry.lan/team": "neither a host", "10.1.0.0/33": "nor a network", "registry.lan:0": "a port is",
		"registry.lan:70000": "a port is", "registry.lan:http": "a port is", "registry lan": "it is no host", "-x": "it is no host", "*.lan": "it is no host",
		"user@registry.lan": "it is no host", ":5000": "it is no host", "registry.lan?x": "it is no host",
	} {
		if got, err := config.ParseRegistries([]string{text}); !fail.Is(err, fail.FlagInvalid) || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: got %v and error %v, want %s with %q", text, got, err, fail.FlagInvalid, why)
		}
	}
}

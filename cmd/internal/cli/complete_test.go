package cli

import (
	"slices"
	"testing"

	"github.com/spf13/pflag"
)

// TestFlagValues: of every flag that takes a value it was thought about what a shell offers, and nothing is offered for flags that
// are gone.
func TestFlagValues(t *testing.T) {
	t.Parallel()
	a := testApp(t)
	values := a.flagValues()
	free := []string{ // nothing can be known of these
		"network", "apiserver-names", "apiserver-ips", "cert-expiration", "extra-config", "feature-gates", "wait-timeout", "ssh-ip-address",
		"ssh-port", "format", "lines", "description", "port",
	}
	seen := map[string]bool{}
	for _, cmd := range all(a.root()) {
		look := func(flag *pflag.Flag) {
			if !takesValue(flag) {
				return
			}
			seen[flag.Name] = true
			if (values[flag.Name] == nil) != slices.Contains(free, flag.Name) {
				t.Errorf("%s --%s: say in flagValues what a shell offers for it, or in this test that nothing can be known", cmd.CommandPath(), flag.Name)
			}
			if _, ok := cmd.GetFlagCompletionFunc(flag.Name); values[flag.Name] != nil && !ok {
				t.Errorf("%s --%s: nothing is offered for it", cmd.CommandPath(), flag.Name)
			}
		}
		cmd.Flags().VisitAll(look)
		cmd.PersistentFlags().VisitAll(look)
	}
	for name := range values {
		if !seen[name] {
			t.Errorf("no command has a flag --%s", name)
		}
	}
}

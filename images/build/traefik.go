package build

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// legoVersion is the ACME library that Traefik's go.mod asks for.
const legoVersion = "v5.4.1"

// noProviders replaces lego's table of DNS providers.
const noProviders = `package dns

import (
	"fmt"

	"github.com/go-acme/lego/v5/challenge"
)

// NewDNSChallengeProviderByName knows no provider.
func NewDNSChallengeProviderByName(name string) (challenge.Provider, error) {
	return nil, fmt.Errorf("DNS provider %q is not part of this build", name)
}
`

// prepareTraefik puts a copy of lego without its DNS providers into the folder lego of dir, where the component's go.mod
// expects it. The providers need cloud SDKs that the module proxy does not serve; a local ingress asks nobody for
// certificates.
func prepareTraefik(ctx context.Context, dir string) error {
	stdout, err := command{
		dir: dir, env: []string{"GOFLAGS=-mod=mod", "GOWORK=off"},
		args: []string{"go", "mod", "download", "-json", "github.com/go-acme/lego/v5@" + legoVersion},
	}.run(ctx)
	if err != nil {
		return err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal([]byte(stdout), &module); err != nil {
		return fmt.Errorf("read the answer of go mod download: %w", err)
	}
	lego := filepath.Join(dir, "lego")
	providers := filepath.Join(lego, "providers", "dns")
	for _, part := range []string{"acme", "certcrypto", "certificate", "challenge", "internal", "lego", "log", "platform", "providers/http", "registration"} {
		from := filepath.Join(module.Dir, part)
		if _, err := os.Stat(from); os.IsNotExist(err) {
			continue
		}
		if err := os.CopyFS(filepath.Join(lego, part), os.DirFS(from)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(providers, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(providers, "dns.go"), []byte(noProviders), 0o644); err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(module.Dir, "go.mod"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(lego, "go.mod"), mod, 0o644)
}

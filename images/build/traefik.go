package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// noECS takes the place of Traefik's package for Amazon's container service, which no local cluster uses. The SDK behind it
// is as much to compile as all the rest of Traefik.
const noECS = `package ecs

import (
	"errors"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/safe"
)

const ProviderName = "ecs"

// Provider provides nothing.
type Provider struct{}

func (*Provider) SetDefaults() {}

func (*Provider) Init() error { return errors.New("the provider ecs is not part of this build") }

func (*Provider) Provide(chan<- dynamic.Message, *safe.Pool) error { return nil }
`

// prepareTraefik leaves out what needs the SDKs of clouds: a local ingress asks nobody for certificates, and finds its
// routes in Kubernetes. Where the component's go.mod expects them, copies of Traefik without its provider for ECS and of lego
// without its DNS providers go into dir; the module proxy does not serve all that the latter need.
func prepareTraefik(ctx context.Context, dir string) error {
	traefik, lego := filepath.Join(dir, "traefik"), filepath.Join(dir, "lego")
	source, err := copyModule(ctx, traefik, "github.com/traefik/traefik/v3@v"+traefikVersion, filepath.Join(dir, "go.sum"), "cmd", "internal", "pkg", "webui")
	if err != nil {
		return err
	}
	// Of a module that is replaced by a folder the component's go.sum knows nothing, but Traefik's own does.
	_, err = copyModule(ctx, lego, "github.com/go-acme/lego/v5@"+legoVersion, filepath.Join(source, "go.sum"),
		"acme", "certcrypto", "certificate", "challenge", "internal", "lego", "log", "platform", "providers/http", "registration")
	if err != nil {
		return err
	}
	ecs, dns := filepath.Join(traefik, "pkg", "provider", "ecs"), filepath.Join(lego, "providers", "dns")
	if err := errors.Join(os.RemoveAll(ecs), os.MkdirAll(ecs, 0o755), os.MkdirAll(dns, 0o755)); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(ecs, "ecs.go"), []byte(noECS), 0o644),
		os.WriteFile(filepath.Join(dns, "dns.go"), []byte(noProviders), 0o644))
}

// copyModule copies go.mod and some folders of a module's source to the folder to; those that it does not have are left out. The
// source must be the one of which the go.sum file sums has the hash. It returns the folder of the whole source.
func copyModule(ctx context.Context, to, module, sums string, folders ...string) (dir string, err error) {
	stdout, err := command{
		dir: filepath.Dir(to), env: []string{"GOFLAGS=-mod=mod", "GOWORK=off"}, args: []string{"go", "mod", "download", "-json", module},
	}.run(ctx)
	if err != nil {
		return "", err
	}
	var source struct{ Dir, Sum string }
	if err := json.Unmarshal([]byte(stdout), &source); err != nil {
		return "", fmt.Errorf("read the answer of go mod download: %w", err)
	}
	known, err := os.ReadFile(sums)
	if err != nil {
		return "", err
	}
	if err := checkSum(known, module, source.Sum); err != nil {
		return "", err
	}
	for _, folder := range folders {
		from := filepath.Join(source.Dir, folder)
		if _, err := os.Stat(from); os.IsNotExist(err) {
			continue
		}
		if err := os.CopyFS(filepath.Join(to, folder), os.DirFS(from)); err != nil {
			return "", err
		}
	}
	mod, err := os.ReadFile(filepath.Join(source.Dir, "go.mod"))
	if err != nil {
		return "", err
	}
	return source.Dir, os.WriteFile(filepath.Join(to, "go.mod"), mod, 0o644)
}

// checkSum holds a module, as path@version, to its line in a go.sum file.
func checkSum(sums []byte, module, sum string) error {
	want := strings.Replace(module, "@", " ", 1) + " " + sum
	if sum != "" && slices.Contains(strings.Split(string(sums), "\n"), want) {
		return nil
	}
	return fmt.Errorf("the source of %s has the hash %q, which is not that of go.sum", module, sum)
}

package config

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// registryHost is a DNS name, or an IPv4 address, as an image name may have it ("distribution/reference", domain).
var registryHost = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`) //nolint:gochecknoglobals // compiled once, never changed

// ParseRegistries reads registries as image names have them, HOST or HOST:PORT, and networks, as in 10.1.0.0/16. It returns them in
// small letters, each once. None, and the word none, is the empty list. What is neither gives fail.FlagInvalid, all at once.
func ParseRegistries(list []string) ([]string, error) {
	registries, problems := []string{}, []error{}
	for _, text := range list {
		registry := strings.ToLower(strings.TrimSpace(text))
		if registry == "none" && len(list) == 1 {
			break
		}
		if err := checkRegistry(registry); err != nil {
			problems = append(problems, refuse("insecure-registry", text, "%w", err))
		} else if !slices.Contains(registries, registry) {
			registries = append(registries, registry)
		}
	}
	return registries, errors.Join(problems...)
}

func checkRegistry(text string) error {
	if strings.Contains(text, "://") {
		return errors.New("it begins with a scheme, and is to be a host, as in registry.lan:5000")
	}
	if strings.Contains(text, "/") {
		if _, err := netip.ParsePrefix(text); err != nil {
			return errors.New("it is neither a host, as in registry.lan:5000, nor a network, as in 10.1.0.0/16")
		}
		return nil
	}
	host := text
	if separate, port, err := net.SplitHostPort(text); err == nil {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return errors.New("a port is a number from 1 to 65535")
		}
		host = separate
	}
	parsed, err := url.Parse("//" + text)
	_, noAddress := netip.ParseAddr(host)
	if err != nil || parsed.Host != text || noAddress != nil && !registryHost.MatchString(host) {
		return errors.New("it is no host, as in registry.lan:5000")
	}
	return nil
}

package config_test

import (
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
)

func TestHostAccess(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "none", "none": "none", "off": "none", "all": "all", "5432": "5432", "8080, 5432,8080": "5432,8080", "1,65535": "1,65535",
	} {
		if got, err := config.ParseHostAccess(text); err != nil || got.String() != want || got.None() != (want == "none") {
			t.Errorf("%q: got %s and error %v, want %s", text, got, err, want)
		}
	}
	for text, why := range map[string]string{
		"0": `"0" is not a port`, "70000": `"70000" is not a port`, "-1": "is not a port", "http": "is not a port", "8000-8010": "is not a port",
		"8080,": `"" is not a port`, "all,8080": "all stands alone", "8080,none": "none stands alone", "1.5": "is not a port", "0x50": "is not a port",
	} {
		got, err := config.ParseHostAccess(text)
		if !fail.Is(err, fail.FlagInvalid) || !got.None() || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: got %s and error %v, want %s with %q", text, got, err, fail.FlagInvalid, why)
		}
	}
}

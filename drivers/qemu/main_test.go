package qemu

import (
	"fmt"
	"os"
	"testing"
)

// TestMain lets the test binary play QEMU.
func TestMain(m *testing.M) {
	how := behaviour(os.Getenv(playVariable))
	if how == "" {
		os.Exit(m.Run())
	}
	if err := play(how, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

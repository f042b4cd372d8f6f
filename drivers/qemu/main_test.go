package qemu

import (
	"fmt"
	"os"
	"testing"
)

// TestMain lets the test binary play QEMU, and a process that drives it and is killed.
func TestMain(m *testing.M) {
	how, work := behaviour(os.Getenv(playVariable)), os.Getenv(driveVariable)
	var err error
	switch {
	case how != "": // also when it was started by one that drives
		err = play(how, os.Args[1:], os.Stdout)
	case work != "":
		err = drive(work)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

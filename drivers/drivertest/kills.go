package drivertest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Variables of the tests that kill at random moments.
const (
	killsVariable = "SKIFF_TEST_KILLS" // how often
	seedVariable  = "SKIFF_TEST_SEED"  // repeats a run
)

// Kills returns how often a test is to kill, which is usual where nobody has asked for another number, and what its chances come
// from. A test for which 0 is usual is skipped then.
func Kills(t *testing.T, usual int) (rounds int, random *rand.Rand) {
	t.Helper()
	rounds, err := strconv.Atoi(os.Getenv(killsVariable))
	if err != nil {
		rounds = usual
	}
	if rounds == 0 {
		t.Skipf("set %s to kill so often: that takes minutes", killsVariable)
	}
	seed, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("%s=%d %s=%d", killsVariable, rounds, seedVariable, seed)
	return rounds, rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // it must be repeatable, not secret
}

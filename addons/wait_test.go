package addons

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestWhileStalled: what an addon lacks is said when nothing has changed for a while, however long the changes take.
func TestWhileStalled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		changed := make(chan struct{})
		var said []time.Duration
		end := whileStalled(t.Context(), changed, func(context.Context) { said = append(said, time.Since(began)) })
		for range 3 {
			time.Sleep(patience - time.Second)
			changed <- struct{}{}
		}
		time.Sleep(patience + lookTick + time.Second)
		end()
		last := 3 * (patience - time.Second)
		if want := []time.Duration{last + patience, last + patience + lookTick}; !slices.Equal(said, want) {
			t.Errorf("said after %v, want %v", said, want)
		}
		time.Sleep(time.Hour)
		if len(said) != 2 {
			t.Errorf("said after %v, want nothing after the end", said)
		}
	})
}

package doctor_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/skiff-k8s/skiff/doctor"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/fake"
)

// silent is a driver whose technology does not answer.
type silent struct {
	drivers.Driver
	end chan struct{}
}

func (s silent) Check(context.Context) []drivers.Finding {
	<-s.end // whatever its limit is
	return nil
}

func TestQuickDoesNotWaitForASilentDriver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		driver := silent{Driver: fake.New(fake.Options{}), end: make(chan struct{})}
		defer close(driver.end)
		if found := doctor.Quick(t.Context(), driver); found.Healthy || found.Error == "" {
			t.Errorf("got %+v, want a failure", found)
		}
	})
}

package doctor_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skiff-k8s/skiff/doctor"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/machine"
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

// hung is a driver of a technology that does not answer, which it says after ten seconds; guests run for ever.
type hung struct{ drivers.Driver }

func (hung) Check(ctx context.Context) []drivers.Finding {
	select {
	case <-time.After(10 * time.Second):
	case <-ctx.Done():
	}
	return []drivers.Finding{{Name: "hung", Level: drivers.Failure, Text: "It does not answer.", Remedy: "restart it"}}
}

func TestQuickWaitsForARemedy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if found := doctor.Quick(t.Context(), hung{fake.New(fake.Options{})}); found.Fix != "restart it" {
			t.Errorf("got %+v, want the driver's own remedy", found)
		}
	})
}

// eternal is a driver whose guests do not end.
type eternal struct{ drivers.Driver }

func (eternal) Accelerator(ctx context.Context, _ machine.Image) (name, note string) {
	<-ctx.Done()
	return "tcg", ""
}

// A driver that does not answer fails; one that works and whose guest takes long does not.
func TestExamineOfSlowDrivers(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.Listen = refusing(nil)
	now := time.Now()
	p.Now = func() time.Time { return now }
	synctest.Test(t, func(t *testing.T) {
		first := silent{Driver: fake.New(fake.Options{Name: "silent"}), end: make(chan struct{})}
		defer close(first.end)
		p.Only = true
		p.Drivers = []drivers.Driver{first, eternal{fake.New(fake.Options{Name: "eternal"})}}
		report, err := p.Examine(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := report.Drivers[0]; got.Healthy || !report.Failed() {
			t.Errorf("got %+v of a driver that does not answer, want a failure", got)
		}
		if got := report.Drivers[1]; !got.Healthy || !got.NeedsImprovement {
			t.Errorf("got %+v of a driver whose guest does not end, want a warning", got)
		}
	})
}

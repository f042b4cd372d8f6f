package doctor

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
)

// Report is all that the doctor found.
type Report struct {
	Drivers []Driver  `json:"drivers"` // in the order in which "auto" tries them, then those that must be named
	Checks  []Finding `json:"checks"`
	Fixed   []Fixed   `json:"fixed,omitzero"` // what Fix did before it looked again, may be empty; nil without Fix
}

// Fixed is one thing that was mended, or that could not be.
type Fixed struct {
	Name  string `json:"name"` // of the check
	Text  string `json:"text"` // what was done, one sentence; with an error, what was wrong
	Error string `json:"error,omitempty"`
}

// Failed reports whether something fails that skiff cannot do without. A driver that does not work is no failure of the
// host while another one does that "auto" tries, unless the user named it or a cluster uses it.
func (r Report) Failed() bool {
	for _, driver := range r.Drivers {
		if driver.Needed && !driver.Healthy {
			return true
		}
	}
	return count(r.Checks, drivers.Failure) > 0
}

// Count returns how many findings of the report have that level; drivers that are not needed do not count.
func (r Report) Count(level drivers.Level) int {
	n := count(r.Checks, level)
	for _, driver := range r.Drivers {
		if driver.Needed {
			n += count(driver.Findings, level)
		}
	}
	return n
}

func count(findings []Finding, level drivers.Level) int {
	n := 0
	for _, finding := range findings {
		if finding.Level == level {
			n++
		}
	}
	return n
}

// conclude decides which drivers count.
func (r *Report) conclude(only bool) {
	works := false
	for i := range r.Drivers {
		driver := &r.Drivers[i]
		tried := driver.Healthy && !driver.named
		if only || driver.used || tried && !works {
			driver.Needed = true
		}
		works = works || tried
	}
	for i := range r.Drivers {
		driver := &r.Drivers[i]
		driver.Needed = driver.Needed || !works && !driver.named
	}
}

// fixLimit bounds each thing that Fix does; a machine that is ended may take its time.
const fixLimit = 2 * time.Minute

// Fix mends what it can of a report, tells each thing that it did to done, and returns a new report, of what is left.
func (h Host) Fix(ctx context.Context, report Report, done func(Fixed)) (Report, error) {
	all := []Fixed{}
	findings := slices.Clone(report.Checks)
	for _, driver := range report.Drivers {
		findings = append(findings, driver.Findings...)
	}
	for _, finding := range findings {
		if finding.mend == nil {
			continue
		}
		one := finding.fix(ctx)
		if ctx.Err() != nil {
			return Report{}, context.Cause(ctx)
		}
		if one.Text == "" {
			continue // it went away by itself
		}
		all = append(all, one)
		done(one)
	}
	after, err := h.look(ctx)
	after.Fixed = all
	return after, err
}

func (f Finding) fix(ctx context.Context) Fixed {
	ctx, cancel := context.WithTimeout(ctx, fixLimit)
	defer cancel()
	did, err := f.mend(ctx)
	if err != nil {
		return Fixed{Name: f.Name, Text: f.Text, Error: err.Error()}
	}
	return Fixed{Name: f.Name, Text: did}
}

// errBusy says that another command has what was to be mended.
var errBusy = errors.New("another command uses it now; run the doctor again when that has ended")

package doctor

import (
	"context"
	"errors"
	"slices"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
)

// place is a driver with the settings of the next cluster, or of one that is here.
type place struct {
	drivers.Driver
	used  bool // by a cluster that is here
	named bool // "auto" never tries it
}

// reported are the places that the report is to be of.
func (h Host) reported() []place {
	return slices.DeleteFunc(h.places(), func(one place) bool { return h.Only != "" && one.Name() != h.Only })
}

// places are all drivers: each as the next cluster would have it, and as clusters have it that are here. Those
// that "auto" tries come first.
func (h Host) places() []place {
	var all []place
	for _, driver := range h.Drivers {
		all = append(all, h.placesOf(driver, With(driver, h.Settings), settingsOf(driver, h.Settings))...)
	}
	for _, driver := range h.Named {
		for _, one := range h.placesOf(driver, With(driver, h.Settings), settingsOf(driver, h.Settings)) {
			one.named = true
			all = append(all, one)
		}
	}
	return all
}

// placesOf returns next, which has those settings, and the driver as clusters have it otherwise.
func (h Host) placesOf(driver, next drivers.Driver, settings drivers.Settings) []place {
	all, at := []place{{Driver: next}}, map[drivers.Settings]int{settings: 0}
	for _, cluster := range h.described() {
		if cluster.err != nil || cluster.config.Driver != driver.Name() {
			continue
		}
		theirs := settingsOf(driver, drivers.Settings{LibvirtURI: cluster.config.LibvirtURI, Network: cluster.config.Network})
		i, ok := at[theirs]
		if !ok {
			i = len(all)
			at[theirs] = i
			all = append(all, place{Driver: With(driver, theirs)})
		}
		all[i].used = true
	}
	return all
}

// settingsOf returns no settings for a driver that has none.
func settingsOf(driver drivers.Driver, settings drivers.Settings) drivers.Settings {
	if _, ok := driver.(drivers.Configurable); ok {
		return settings
	}
	return drivers.Settings{}
}

// With returns the driver with those settings, as far as it has any. One that cannot take them finds that.
func With(driver drivers.Driver, settings drivers.Settings) drivers.Driver {
	configurable, ok := driver.(drivers.Configurable)
	if !ok || settings == (drivers.Settings{}) {
		return driver
	}
	configured, err := configurable.With(settings)
	if err != nil {
		return refusing{driver, err}
	}
	return configured
}

// refusing is a driver that cannot take its settings.
type refusing struct {
	drivers.Driver
	err error
}

// Check finds what is wrong with the settings.
func (r refusing) Check(context.Context) []drivers.Finding {
	finding := drivers.Finding{Name: "settings", Level: drivers.Failure, Text: sentence(r.err.Error())}
	if known, ok := errors.AsType[*fail.Error](r.err); ok {
		finding.ID, finding.Remedy = known.ID, known.Next
	}
	return []drivers.Finding{finding}
}

// join makes one of those that are the same place by different settings: what was found says where it is.
func join(all []Driver) []Driver {
	var joined []Driver
	for _, one := range all {
		i := slices.IndexFunc(joined, func(other Driver) bool {
			return other.Name == one.Name && slices.EqualFunc(other.Findings, one.Findings, func(a, b Finding) bool { return a.Finding == b.Finding })
		})
		if i < 0 {
			joined = append(joined, one)
			continue
		}
		joined[i].used = joined[i].used || one.used
	}
	return joined
}

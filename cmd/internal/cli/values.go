package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/skiff-k8s/skiff/addons"
	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images/download"
)

// goodWords refuses words that the flag of that name does not take, as far as that can be told without looking at a cluster or
// at this computer. The list is empty where the value is.
func goodWords(key string, list []string) error {
	text := strings.Join(list, ",")
	var problems []error
	switch key {
	case "profile":
		return config.ValidateProfile(text)
	case "driver":
		if text == "" {
			return badValue(key, text, errors.New("it is empty; auto is the first driver that works"))
		}
	case "apiserver-names":
		problems = each(list, config.CheckAPIServerName)
	case "apiserver-ips":
		problems = each(list, config.CheckAPIServerIP)
	case "extra-config":
		problems = each(list, config.CheckSetting)
	case "feature-gates":
		return config.CheckFeatureGates(list)
	case "image":
		if text != "" {
			problems = []error{goodPlace(key, text)}
		}
	case "image-mirrors":
		problems = each(list, func(place string) error { return goodPlace(key, place) })
	case "auto-pause":
		_, err := config.AutoPause(text)
		return err
	case "host-access":
		_, err := config.ParseHostAccess(text)
		return err
	case "insecure-registry":
		_, err := config.ParseRegistries(list)
		return err
	case "cert-expiration":
		_, err := config.CertExpiration(text)
		return err
	case "wait":
		_, err := noWait(list)
		return err
	case "wait-timeout":
		if limit, err := time.ParseDuration(text); err == nil && limit < 0 {
			return badValue(key, text, errors.New("it is less than nothing; 0 is no limit"))
		}
	case "warm-spare":
		_, err := warmSpare(text)
		return err
	}
	return errors.Join(append(problems, goodMachine(key, text))...)
}

// goodMachine is goodWords for the flags of the ssh driver.
func goodMachine(key, text string) error {
	switch key {
	case "ssh-user":
		return config.CheckUser(text)
	case "ssh-port":
		_, err := sshPort(text)
		return err
	case "ssh-ip-address":
		if text != "" {
			_, err := sshAddress(text)
			return err
		}
	}
	return nil
}

// goodPlace refuses what is no place of guest images.
func goodPlace(key, text string) error {
	reference, err := download.ParseReference(text)
	if err == nil && key == "image" { // mirrors may be held to what this skiff was built for
		err = reference.CheckTrust()
	}
	return fail.About(err, key)
}

func each(list []string, check func(string) error) []error {
	problems := make([]error, 0, len(list))
	for _, one := range list {
		problems = append(problems, check(one))
	}
	return problems
}

// goodSetting refuses, with exit code 2 or that of a driver that is not there, what a start with this setting would refuse.
func (a *app) goodSetting(key, value string) error {
	var list []string
	if value != "" {
		list = listOf(key, value)
	}
	problems := []error{goodValue(key, value), goodWords(key, list)}
	if errors.Join(problems...) == nil {
		problems = append(problems, a.fits(key, value, list))
	}
	for _, problem := range problems {
		if known, ok := errors.AsType[*fail.Error](problem); ok && known.ID != fail.DriverNotFound {
			refused := *known
			refused.ID, refused.Op = fail.FlagInvalid, fmt.Sprintf("set %s to %q", key, value)
			if known.ID == fail.ProfileInvalid {
				refused.ID = known.ID
			}
			refused.Flag, refused.Again = "", false
			if refused.Hint == "" {
				refused.Hint = fmt.Sprintf("It takes what `skiff start --%s` takes.", key)
			}
			if refused.Next == "" || strings.HasPrefix(refused.Next, "skiff start") {
				refused.Next = "skiff start --help"
			}
			return &refused
		}
		if problem != nil {
			return problem
		}
	}
	return nil
}

// fits refuses a setting that no cluster can have here.
func (a *app) fits(key, value string, list []string) error {
	facts := a.deps.Facts()
	likely := config.Cluster{Profile: defaultProfile, CPUs: config.MinCPUs, MemoryMiB: config.MinMemoryMiB, DiskBytes: config.MinDiskBytes}
	var err error
	switch key {
	case "memory":
		likely.MemoryMiB, err = config.Memory(value, facts)
	case "cpus":
		likely.CPUs, err = config.CPUs(value, facts)
	case "disk-size":
		likely.DiskBytes, err = config.Disk(value)
	case "driver":
		if value != "auto" {
			_, err = a.deps.Drivers(a.ctx, a.home)(value)
		}
		return err
	case "libvirt-uri":
		return a.goodURI(value)
	case "kubernetes-version":
		return cluster.CheckVersion(value)
	case "addons":
		return errors.Join(each(list, func(name string) error {
			_, err := addons.Find(name)
			return err
		})...)
	case "ssh-key":
		if value != "" {
			_, err = sshKey(value)
		}
		return err
	default:
		return nil
	}
	if err != nil {
		return err
	}
	return config.Validate(likely, facts, false)
}

// goodURI asks the driver for libvirt.
func (a *app) goodURI(uri string) error {
	driver, err := a.deps.Drivers(a.ctx, a.home)("libvirt")
	if configurable, ok := driver.(drivers.Configurable); ok && err == nil && uri != "" {
		_, err = configurable.With(drivers.Settings{LibvirtURI: uri})
	}
	return err
}

// goodValue tries a value on the flag of the same name.
func goodValue(key string, value any) error {
	flag := startFlags().Lookup(key)
	if flag == nil {
		return nil // the profile, which has more rules than a flag
	}
	text := strings.Join(words(value), ",")
	if err := flag.Value.Set(text); err != nil {
		return badValue(key, text, plainly(flag, err))
	}
	return nil
}

func badValue(key, text string, err error) *fail.Error {
	return fail.New(fail.FlagInvalid, fmt.Sprintf("read --%s %q", key, text), "%w", err).About(key)
}

// plainly says in words of people why a flag does not take a value.
func plainly(flag *pflag.Flag, err error) error {
	switch kind := flag.Value.Type(); {
	case kind == "bool":
		return errors.New("it is neither true nor false")
	case kind == "duration":
		return errors.New("it is no time, such as 30s or 5m")
	case kind == "int" || kind == "count":
		return errors.New("it is not a whole number")
	case strings.HasPrefix(kind, "string"):
		return errors.New("it is no list: what is in quotation marks does not end, or they are in the middle of a word")
	}
	return err
}

// listOf are the words of a value that was given as one text: separated by commas, unless a word may have some.
func listOf(key, value string) []string {
	if takesCommas(key) {
		return []string{value}
	}
	return words(value)
}

// takesCommas reports whether a single word of a setting may have commas in it.
func takesCommas(key string) bool {
	flag := startFlags().Lookup(key)
	return flag != nil && flag.Value.Type() == "stringArray"
}

// words takes a value of a YAML file, a variable or a flag apart.
func words(value any) []string {
	var list []string
	switch value := value.(type) {
	case nil:
	case []string:
		list = value
	case []any:
		for _, one := range value {
			list = append(list, fmt.Sprint(one))
		}
	default:
		list = strings.Split(fmt.Sprint(value), ",")
	}
	return slices.DeleteFunc(slices.Clone(list), func(word string) bool { return strings.TrimSpace(word) == "" })
}

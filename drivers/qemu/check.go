package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/hostfiles"
)

// minVersion is the first QEMU that has -netdev stream (QEMU wiki, "ChangeLog/7.2").
const minVersion = "7.2"

// versionText is how QEMU's programs name their version.
var versionText = regexp.MustCompile(`version (\d+\.\d+(\.\d+)?)`)

// Check looks for QEMU's programs and at the device of the accelerator. It runs no guest; Accelerator does.
func (d *Driver) Check(ctx context.Context) []drivers.Finding {
	var qemu, image drivers.Finding
	var asking sync.WaitGroup // each takes a noticeable part of a start that resumes
	asking.Go(func() { qemu = checkProgram(ctx, "qemu", d.options.QEMU) })
	asking.Go(func() { image = checkProgram(ctx, "qemu-img", d.options.QEMUImg) })
	asking.Wait()
	return []drivers.Finding{qemu, image, d.checkAccelerator()}
}

// checkProgram looks for one program and its version.
func checkProgram(ctx context.Context, name, path string) drivers.Finding {
	finding := drivers.Finding{Name: name, Level: drivers.Failure, Remedy: install()}
	version, err := versionOf(ctx, path)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		finding.Text, finding.Missing = fmt.Sprintf("The program %s is not there.", path), true
	case err != nil:
		finding.Text = fmt.Sprintf("The program %s does not work: %v.", path, err)
	case version.LessThan(semver.MustParse(minVersion)):
		finding.Text = fmt.Sprintf("%s is of version %s; %s is the oldest that will do.", path, version, minVersion)
	default:
		return drivers.Finding{Name: name, Level: drivers.Good, Text: fmt.Sprintf("%s is of version %s.", path, version)}
	}
	return finding
}

func versionOf(ctx context.Context, path string) (*semver.Version, error) {
	found, err := exec.LookPath(path)
	if err != nil {
		return nil, exec.ErrNotFound
	}
	out, err := hostfiles.Output(ctx, found, "--version")
	if err != nil {
		return nil, err
	}
	match := versionText.FindSubmatch(out)
	if match == nil {
		return nil, errors.New("it does not tell its version")
	}
	return semver.NewVersion(string(match[1]))
}

// install is the command that brings QEMU.
func install() string {
	if runtime.GOOS == "darwin" {
		return "brew install qemu"
	}
	return "sudo apt-get install qemu-system-x86 qemu-utils"
}

func (d *Driver) checkAccelerator() drivers.Finding {
	finding := drivers.Finding{Name: "accelerator", Level: drivers.Warning}
	candidate, missing := d.candidate()
	known, probed := d.recall()
	switch {
	case missing != "":
		finding.Text = sentence(missing + slower)
		finding.Remedy = d.remedy()
	case probed && known.Name == tcg:
		finding.Text = sentence(known.Note)
		if known.Words != "" {
			finding.Text += " The test said: " + sentence(known.Words)
		}
	case probed:
		finding.Level, finding.Text = drivers.Good, fmt.Sprintf("Guests run with %s.", known.Name)
	default:
		finding.Level, finding.Text = drivers.Good, fmt.Sprintf("%s is there; whether guests run with it shows at the first start.", candidate)
	}
	return finding
}

// remedy is for a device that exists and is not open to this user, and for one that is missing though the processor has
// what it takes. Nothing else can be had by a command.
func (d *Driver) remedy() string {
	if hostfiles.Exists(d.kvm) {
		return "sudo usermod -aG kvm $USER"
	}
	if module := d.module(); module != "" {
		return "sudo modprobe " + module
	}
	return ""
}

// module is the kernel's module that makes the device on this processor; empty when the processor cannot virtualise, or is
// kept from it by firmware or by a hypervisor around this host (Linux, arch/x86/include/asm/cpufeatures.h).
func (d *Driver) module() string {
	raw, _ := os.ReadFile(d.cpuinfo)
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) != "flags" {
			continue
		}
		for flag := range strings.FieldsSeq(value) {
			switch flag {
			case "vmx":
				return "kvm_intel"
			case "svm":
				return "kvm_amd"
			}
		}
		return "" // all processors have the same flags
	}
	return ""
}

// sentence makes a sentence of a phrase.
func sentence(phrase string) string {
	if phrase == "" {
		return ""
	}
	if first := phrase[0]; first >= 'a' && first <= 'z' {
		phrase = string(first-'a'+'A') + phrase[1:]
	}
	return phrase + "."
}

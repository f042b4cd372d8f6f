package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/skiff-k8s/skiff/images"
)

// qemuConfigure are the arguments of QEMU's configure: one machine, software emulation alone, and none of what a packager adds for
// all users. Debian's build checks its stack in each function and loads the emulation as a module, which the innermost loop feels.
var qemuConfigure = []string{
	"--target-list=x86_64-softmmu", "--without-default-features", "--without-default-devices", "--with-devices-x86_64=skiff",
	"--enable-system", "--enable-tcg", "--enable-seccomp", "--enable-fdt=system", "--enable-trace-backends=nop", "--static",
	"--disable-pie", "--disable-stack-protector", "--disable-werror", "--disable-docs", "--disable-install-blobs",
	"--with-git-submodules=ignore", "--with-pkgversion=skiff", "--prefix=/usr",
}

const qemuFlags = "-O3 -Werror=implicit-function-declaration"

// qemuEnv keeps the user's settings of compilers out of the result.
var qemuEnv = []string{"CC=gcc", "CFLAGS=", "CPPFLAGS=", "CXXFLAGS=", "LDFLAGS="}

// qemuFirmware are files of the host's QEMU that guests start from, by their names in QEMU's folder of data.
var qemuFirmware = map[string]string{
	"bios-256k.bin":     "/usr/share/seabios/bios-256k.bin",
	"kvmvapic.bin":      "/usr/share/qemu/kvmvapic.bin",
	"linuxboot_dma.bin": "/usr/share/qemu/linuxboot_dma.bin",
}

// debianSources are the suites of a Debian release that have the source of its programs (wiki.debian.org/SourcesList).
const debianSources = `deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian %[1]s main
deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian %[1]s-updates main
deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security %[1]s-security main
`

// qemuVersionName is the file beside the programs that says which version of Debian's package they were built from.
const qemuVersionName = "version"

// qemuStep builds the QEMU that runs guests where there is no hardware virtualisation, from Debian's source and the changes in the
// component's folder. Like the root file system, it takes what the mirror has at that moment.
func qemuStep(source string) (*Step, error) {
	dir := filepath.Join(source, "images", "components", "qemu")
	digest, err := hashTree(dir)
	if err != nil {
		return nil, err
	}
	return &Step{
		Name: "qemu", Expect: 4 * time.Minute, Alone: true,
		Inputs: []string{suite, debianSources, digest, strings.Join(qemuConfigure, " "), qemuFlags, fmt.Sprint(qemuFirmware), "1"},
		Do:     func(ctx context.Context, out string) error { return makeQEMU(ctx, dir, out) },
	}, nil
}

func makeQEMU(ctx context.Context, component, out string) error {
	work, err := os.MkdirTemp(filepath.Dir(out), "work-qemu-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	tree, version, err := debianSource(ctx, work, "qemu")
	if err != nil {
		return err
	}
	patches, err := filepath.Glob(filepath.Join(component, "*.patch")) // sorted
	if err != nil {
		return err
	}
	for _, patch := range patches {
		if _, err := (command{dir: tree, args: []string{"patch", "-p1", "--fuzz=0", "-i", patch}}).run(ctx); err != nil {
			return err
		}
	}
	if err := copyFile(filepath.Join(component, "devices.mak"), filepath.Join(tree, "configs/devices/x86_64-softmmu/skiff.mak")); err != nil {
		return err
	}
	made := filepath.Join(work, "made")
	if err := os.Mkdir(made, 0o755); err != nil {
		return err
	}
	configure := slices.Concat([]string{filepath.Join(tree, "configure")}, qemuConfigure, []string{
		"--extra-cflags=" + qemuFlags + " -ffile-prefix-map=" + work + "=.", "--extra-ldflags=-no-pie", "--meson=meson", "--ninja=ninja",
	})
	for _, args := range [][]string{configure, {"ninja", images.EmulatorProgram}, {"strip", images.EmulatorProgram}} {
		if _, err := (command{dir: made, env: qemuEnv, args: args}).run(ctx); err != nil {
			return err
		}
	}
	if err := copyFile(filepath.Join(made, images.EmulatorProgram), filepath.Join(out, images.EmulatorProgram)); err != nil {
		return err
	}
	for name, from := range qemuFirmware {
		if err := copyFile(from, filepath.Join(out, name)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(out, qemuVersionName), []byte(version), 0o644)
}

// debianSource unpacks the newest source of the package into work and returns its folder and its version. apt holds what it
// downloads to the signatures of the archive; the host's own lists and settings of packages stay as they are.
func debianSource(ctx context.Context, work, name string) (tree, version string, err error) {
	apt := filepath.Join(work, "apt")
	list := filepath.Join(apt, "sources.list")
	err = errors.Join(
		os.MkdirAll(filepath.Join(apt, "lists/partial"), 0o755), os.MkdirAll(filepath.Join(apt, "cache/archives/partial"), 0o755),
		os.WriteFile(list, fmt.Appendf(nil, debianSources, suite), 0o644),
	)
	if err != nil {
		return "", "", err
	}
	get := []string{
		"apt-get", "-q", "-o", "Dir::Etc::sourcelist=" + list, "-o", "Dir::Etc::sourceparts=/dev/null",
		"-o", "Dir::State::lists=" + filepath.Join(apt, "lists"), "-o", "Dir::Cache=" + filepath.Join(apt, "cache"), "-o", "APT::Sandbox::User=root",
	}
	for _, args := range [][]string{{"update"}, {"source", name}} {
		if _, err := (command{dir: work, args: slices.Concat(get, args)}).run(ctx); err != nil {
			return "", "", err
		}
	}
	described, err := only("the description of the source of "+name, filepath.Join(work, name+"_*.dsc"))
	if err != nil {
		return "", "", err
	}
	version = strings.TrimPrefix(strings.TrimSuffix(filepath.Base(described), ".dsc"), name+"_")
	configure, err := only("the source of "+name, filepath.Join(work, name+"-*", "configure"))
	return filepath.Dir(configure), version, err
}

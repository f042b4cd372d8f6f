//go:build linux && cgo && libvirt_dlopen

package main

import "github.com/skiff-k8s/skiff/cmd/internal/cli"

const build = cli.BuildLibvirt

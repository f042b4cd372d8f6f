//go:build linux && !cgo

package main

import "github.com/skiff-k8s/skiff/cmd/internal/cli"

const build = cli.BuildStatic

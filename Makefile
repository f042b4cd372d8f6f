# skiff. `make up` gives a cluster with a page in it, `make test` runs what CI runs, `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The steps of `test` and `up` follow one another, also under -j: there is one build cache, and one VM at a time.
.NOTPARALLEL:

# Debian packages that building, testing and running need, besides Go and make:
#   qemu-system-x86 qemu-utils              the machines and their disks
#   mmdebstrap busybox-static cpio kmod     root file system and initrd of the guest image
#   e2fsprogs zstd xz-utils                 its file system, and the compressed files inside it
#   libseccomp-dev pkg-config gcc libc6-dev runc, and the race detector of the tests
#   dpkg-dev meson ninja-build libfdt-dev libglib2.0-dev libpixman-1-dev   the QEMU of the guest image, from Debian's source
#   openssh-client curl ca-certificates     reaching guests and web pages by hand and in tests
#   libvirt-daemon-system libvirt-clients libvirt-daemon-driver-qemu dnsmasq-base   tests of the driver for libvirt
#   chromium fonts-noto-cjk                 tests of the dashboard's page
#   ruby                                    runs the formula for Homebrew, with a stand-in for Homebrew
# Node.js and npm, which make that page, may come from elsewhere: they are installed only where there is no npm.
DEBIAN_PACKAGES := qemu-system-x86 qemu-utils mmdebstrap busybox-static cpio kmod e2fsprogs zstd xz-utils \
	libseccomp-dev pkg-config gcc libc6-dev openssh-client curl ca-certificates \
	dpkg-dev meson ninja-build libfdt-dev libglib2.0-dev libpixman-1-dev \
	libvirt-daemon-system libvirt-clients libvirt-daemon-driver-qemu dnsmasq-base \
	chromium fonts-noto-cjk ruby
NODE_PACKAGES := $(if $(shell command -v npm 2>/dev/null),,nodejs npm)

# The source archive of a release has this file, for what git says in a checkout, and the page of the dashboard.
-include release.mk

VERSION ?= $(or $(shell git describe --tags --match 'v*' --dirty 2>/dev/null),v0.0.0-dev)
COMMIT ?= $(or $(shell git rev-parse HEAD 2>/dev/null),unknown)
# What is made at no particular time is dated like the commit, so that twice the same sources give the same bytes.
SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),0)
# Digest of the index of guest images that mirrors are held to which have none of their own: sha256:HEX. Empty: there is none yet.
IMAGE_INDEX ?=
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.imageIndex=$(IMAGE_INDEX)

# The driver for libvirt needs cgo, and loads libvirt's library when skiff runs: neither the library nor its headers are
# needed to build. Where go would use cgo, on Linux with a C compiler and not for another architecture, skiff has the driver;
# CGO_ENABLED=0 gives a skiff without it, linked statically, for any system.
CGO_ENABLED ?= $(if $(filter linux,$(shell go env GOOS)),$(shell go env CGO_ENABLED),0)
TAGS := libvirt_dlopen,netgo,osusergo

# Where skiff-image leaves the newest guest image, and skiff looks for it; store.Home.Built says the same.
IMAGE ?= $(if $(SKIFF_HOME),$(SKIFF_HOME)/cache,$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/skiff)/images/current

GOLANGCI_LINT := go tool -modfile=tools/go.mod golangci-lint

# Every Go file: also those behind build tags and in the modules below, which `go list ./...` leaves out.
GO_FILES = $$(find . -name '*.go' -not -path './.git/*' -not -path './bin/*' -not -path '*/node_modules/*')

# Packages with a test that compares a generated page under site/content with its source, and rewrites it with -update.
GENERATORS := ./fail ./cmd/internal/cli

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## Install the Debian packages needed (once; as root, or through sudo)
	@if dpkg-query -W -f='$${db:Status-Status}\n' $(DEBIAN_PACKAGES) $(NODE_PACKAGES) 2>/dev/null | sort -u | tr '\n' ' ' | grep -qx 'installed '; \
		then exit 0; fi; \
	command -v apt-get >/dev/null || { echo "This is not Debian; install what is called there: $(DEBIAN_PACKAGES) $(NODE_PACKAGES)" >&2; exit 1; }; \
	echo "== Installing Debian packages"; \
	as_root=(); if [ "$$(id -u)" -ne 0 ]; then as_root=(sudo); fi; \
	"$${as_root[@]}" apt-get update -q; \
	"$${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(DEBIAN_PACKAGES) $(NODE_PACKAGES)

# The page of the dashboard is made with Node.js, 18 (Debian 12) or newer. Its files are kept out of git and are part of the
# program when they are there; without them the program says how to make them.
WEB := dashboard/web
WEB_SOURCES := $(wildcard $(WEB)/*.json $(WEB)/*.mjs $(WEB)/index.html $(WEB)/empty/* $(WEB)/build/* $(WEB)/public/* $(WEB)/src/* $(WEB)/src/*/*) examples/http-echo.yaml
# npm writes it last.
MODULES := $(WEB)/node_modules/.package-lock.json
PAGE := dashboard/assets/index.html.gz

.PHONY: dashboard
dashboard: $(PAGE) ## Build the page of the dashboard (needs Node.js; the first time also the network)

$(MODULES): $(WEB)/package-lock.json $(WEB)/package.json
	@command -v npm >/dev/null || { echo "The dashboard's page is made with Node.js 18 or newer and npm; install both, on Debian with: apt install nodejs npm" >&2; exit 1; }
	@echo "== Fetching what the page of the dashboard is made of"
	cd $(WEB) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(PAGE): $(MODULES) $(WEB_SOURCES)
	@echo "== Building the page of the dashboard"
	cd $(WEB) && node_modules/.bin/vite build --logLevel error

# The page, where it can be made: everything else builds without Node.js and without a network. A page that does not build is
# an error.
.PHONY: page-if-possible
page-if-possible:
	@if [ -n '$(PAGE_IS_BUILT)' ] || ! command -v npm >/dev/null; then exit 0; fi; \
	if $(MAKE) -s --no-print-directory $(MODULES); then $(MAKE) -s --no-print-directory $(PAGE); else \
		echo "npm could not fetch what the page of the dashboard is made of; skiff is built without it. With a network: make dashboard build" >&2; fi

.PHONY: build
build: page-if-possible ## Build bin/skiff
	@echo "== Building bin/skiff $(VERSION)"
	CGO_ENABLED=$(CGO_ENABLED) go build -tags $(TAGS) -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/skiff ./cmd/skiff

.PHONY: release
release: release-ready $(PAGE) cross man ## Make the files of a release below bin/release: make release VERSION=v0.1.0
	@echo "== Building for the packages, with the driver for libvirt"
	CGO_ENABLED=1 GOOS=linux GOARCH=amd64 go build -tags $(TAGS) -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' \
		-o bin/cross/skiff-linux-amd64-libvirt ./cmd/skiff
	CGO_ENABLED=0 go run ./packaging/release --version '$(VERSION)' --commit '$(COMMIT)' --epoch '$(SOURCE_DATE_EPOCH)' \
		--programs bin/cross --man bin/man --out bin/release
	$(MAKE) --no-print-directory formula FORMULA=bin/release/skiff.rb FORMULA_SOURCE='bin/release/skiff-$(VERSION).tar.gz'

# Debian packages that a release needs besides Go, make and git; gh is for publishing it.
RELEASE_PACKAGES := lintian ruby gcc libc6-dev ca-certificates gh

.PHONY: release-deps
release-deps: ## Install the Debian packages that a release needs
	@$(MAKE) --no-print-directory deps DEBIAN_PACKAGES='$(RELEASE_PACKAGES)'

# A draft, so that somebody looks at it before it is public.
.PHONY: publish
publish: ## Upload the files of a release to GitHub, as a draft
	gh release create '$(VERSION)' bin/release/* --draft --verify-tag --title 'skiff $(VERSION)' --notes 'CHANGELOG.md says what is new.'

# What is not committed would be in the programs and not in the source archive.
.PHONY: release-ready
release-ready:
	@[[ '$(VERSION)' =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[a-z]+\.[0-9]+)?$$ ]] || { echo "$(VERSION) is not the version of a release. Name one: make release VERSION=v0.1.0" >&2; exit 1; }
	@changed=$$(git status --porcelain); [ -z "$$changed" ] || { \
		echo "A release is made of a commit, and these files differ from it; commit them or put them aside (git stash):" >&2; echo "$$changed" >&2; exit 1; }
	@[ "$$(go env GOHOSTOS)/$$(go env GOHOSTARCH)" = linux/amd64 ] || { echo "A release is made on Linux on amd64: the packages' program is built with its C compiler." >&2; exit 1; }
	@for tool in lintian ruby gcc; do command -v $$tool >/dev/null || { echo "A release needs $$tool, which is not installed; on Debian: make release-deps" >&2; exit 1; }; done

# A formula, by default the one that is filled in by `make release`, against the sources that it names.
FORMULA ?= packaging/homebrew/skiff.rb
FORMULA_SOURCE ?=
.PHONY: formula
formula: page-if-possible ## Build, install and test skiff as Homebrew would, with a stand-in for Homebrew
	@command -v ruby >/dev/null || { echo "The formula is run by ruby, which is not installed. On Debian: apt install ruby" >&2; exit 1; }
	@echo "== The formula for Homebrew"
	ruby -wc $(FORMULA)
	ruby -w packaging/homebrew/standin.rb $(FORMULA) $(FORMULA_SOURCE)

.PHONY: man
man: ## Write the manual pages of all commands, below bin/man
	CGO_ENABLED=0 go run ./cmd/skiff-man --version '$(VERSION)' --epoch '$(SOURCE_DATE_EPOCH)' bin/man

# What skiff runs on. The guest image is built for amd64 alone.
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64

.PHONY: cross
cross: page-if-possible ## Build skiff for Linux and macOS, amd64 and arm64, below bin/cross
	@echo "== Building for $(PLATFORMS)"
	@for platform in $(PLATFORMS); do \
		os=$${platform%/*} arch=$${platform#*/}; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' \
			-o bin/cross/skiff-$$os-$$arch ./cmd/skiff; \
		echo "bin/cross/skiff-$$os-$$arch"; \
	done

.PHONY: image
image: deps ## Build the guest image (about half an hour at first, seconds when nothing changed)
	@echo "== Building the guest image"
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/skiff-image ./cmd/skiff-image
	bin/skiff-image build

# An image that is named is used instead of building one: SKIFF_IMAGE=URL@sha256:DIGEST, FILE or FOLDER. Only a download of it uses the
# network.
.PHONY: up
up: deps $(if $(SKIFF_IMAGE),,image) build ## Start a cluster with ingress and the example of the tutorial, and print its address
	$(if $(findstring ://,$(SKIFF_IMAGE)),bin/skiff bundle load '$(SKIFF_IMAGE)')
	bin/skiff start --offline
	bin/skiff addons enable ingress
	bin/skiff apply -f examples/http-echo.yaml
	bin/skiff kubectl -- rollout status deployment/meow --timeout=5m
	@address=$$(bin/skiff ip); echo; echo "The cluster's address is $$address. Try:  curl -k https://$$address/meow"

.PHONY: down
down: build ## Delete the cluster of `up`
	bin/skiff delete

.PHONY: fmt
fmt: ## Format the Go code
	gofmt -s -w $(GO_FILES)

.PHONY: fmt-check
fmt-check: ## Fail if Go code is not formatted
	@echo "== Checking the format"
	@unformatted=$$(gofmt -s -l $(GO_FILES)); \
	[ -z "$$unformatted" ] || { echo "Not formatted, run \`make fmt\`:" >&2; echo "$$unformatted" >&2; exit 1; }

.PHONY: lint
lint: ## Look for mistakes and for imports against the layers
	@echo "== Linting (the first run builds the linter)"
	$(GOLANGCI_LINT) run ./...

# A process with the race detector waits for a second before it ends, and tests start thousands of short ones.
.PHONY: unit
unit: ## Run unit and script tests with the race detector
	@echo "== Unit and script tests"
	GORACE=atexit_sleep_ms=0 go test -race -shuffle=on -timeout 20m -tags $(TAGS) ./...

# A hundred kills take hours.
E2E_TIMEOUT ?= 60m

.PHONY: e2e
e2e: deps image $(PAGE) ## Run the tests in real virtual machines
	@echo "== End to end"
	SKIFF_TEST_IMAGE='$(IMAGE)' go test -tags $(TAGS) -count=1 -timeout 10m -v -run '^TestRealImage$$' ./images/layout
	SKIFF_TEST_IMAGE='$(IMAGE)' go test -tags e2e,$(TAGS) -count=1 -timeout $(E2E_TIMEOUT) -v $(SHORT) -skip '$(DRIVER_TUTORIALS)' ./test/e2e/...

# Tests of test/e2e that are about one driver.
DRIVER_TUTORIALS := ^Test(Libvirt|SSH)

.PHONY: test-drivers
test-drivers: deps image ## Run the conformance of each driver against the real thing, and a short tutorial on each but the first
	@for driver in qemu libvirt; do \
		echo "== Driver conformance: $$driver"; \
		SKIFF_TEST_IMAGE='$(IMAGE)' go test -tags $(TAGS) -count=1 -timeout 30m -v "./drivers/$$driver/..."; \
	done
	@echo "== A short tutorial on other drivers"
	SKIFF_TEST_IMAGE='$(IMAGE)' go test -tags e2e,$(TAGS) -count=1 -timeout 90m -v $(SHORT) -run '$(DRIVER_TUTORIALS)' ./test/e2e

# The page of the dashboard, on stand-ins: the types and units of its source, then the page itself in Chromium.
.PHONY: web
web: $(PAGE) ## Test the page of the dashboard, in Chromium
	@echo "== The page of the dashboard"
	cd $(WEB) && node_modules/.bin/tsc --noEmit && node_modules/.bin/vitest run
	go test -tags browser -count=1 -timeout 30m -run '^TestBrowser' ./dashboard

TEST_PARTS := deps fmt-check lint unit verify site cross formula web image drivers-tested e2e-tested

# The times are printed when a part fails, too.
.PHONY: test
test: ## Run everything that CI runs, and print where the time went
	@times=; trap 'printf "== Where the time went\n%s" "$$times"' EXIT; \
	for part in $(TEST_PARTS); do \
		begin=$$SECONDS; status=0; $(MAKE) --no-print-directory $$part || status=$$?; \
		times+=$$(printf '%-16s %5d s' $$part $$((SECONDS - begin)))$$'\n'; \
		[ $$status -eq 0 ] || exit $$status; \
	done

# All of test-drivers and e2e would take the tests past an hour.
.PHONY: drivers-tested
drivers-tested:
	@$(MAKE) --no-print-directory test-drivers SHORT=-short

.PHONY: e2e-tested
e2e-tested:
	@$(MAKE) --no-print-directory e2e SHORT=-short

.PHONY: bench
bench: deps image build ## Measure whole commands in a real virtual machine (an hour); bin/bench.json and bin/bench.png
	go run ./bench -skiff bin/skiff -image '$(IMAGE)' -out bin

.PHONY: generate
generate: ## Rewrite the generated pages under site/content
	go test $(GENERATORS) -run '^TestReference' -count=1 -update

.PHONY: verify
verify: ## Fail if a generated page differs from its source
	@echo "== Comparing generated pages with their source"
	go test $(GENERATORS) -run '^TestReference' -count=1

.PHONY: site
site: ## Check the pages of the site: titles, and links between them
	@echo "== Checking the pages of the site"
	go test ./site/...

.PHONY: clean
clean: ## Remove what was built here; clusters and the guest image stay
	rm -rf bin

# weft: build, test, install. `make` alone lists the targets.

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
LIBDIR     ?= $(PREFIX)/lib
# Where systemd looks for units depends on PREFIX: /usr/local/lib/systemd is one of the places.
UNITDIR    ?= $(LIBDIR)/systemd/system
# Inputs for each fuzz target; a time such as 30s will do, but now and then the end of
# its time meets a worker at a bad moment, and go test calls that a failure.
FUZZTIME   ?= 40000x
CONFIG     ?= config/example.yaml

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)
TOOL    := go tool -modfile=tools/go.mod
# What has unit tests; the folders of test/ hold those that need the whole machine.
UNITS    = $(shell go list ./... | grep -v '^weft/test/')
SCRIPTS := .ci/run $(wildcard test/*.sh)

# The version is stamped by LDFLAGS. Root may not ask git about somebody else's checkout.
export GOFLAGS += -buildvcs=false

# A test that cannot run here (no root, a tool missing) is a failure, not a skip.
export WEFT_E2E_REQUIRED := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build weftd and weft into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: install
install: build ## install under DESTDIR and PREFIX: programs, unit, group weft, example config
	install -D -m 755 bin/weftd $(DESTDIR)$(PREFIX)/sbin/weftd
	install -D -m 755 bin/weft $(DESTDIR)$(PREFIX)/bin/weft
	install -d $(DESTDIR)$(UNITDIR)
	install -D -m 644 docs/guide.md $(DESTDIR)$(PREFIX)/share/doc/weft/guide.md
	sed 's|/usr/sbin/weftd|$(PREFIX)/sbin/weftd|; s|/usr/share/doc|$(PREFIX)/share/doc|' packaging/weftd.service > $(DESTDIR)$(UNITDIR)/weftd.service
	install -D -m 644 packaging/networkd/10-weft.network $(DESTDIR)$(LIBDIR)/systemd/network/10-weft.network
	install -D -m 644 packaging/networkmanager/10-weft.conf $(DESTDIR)$(SYSCONFDIR)/NetworkManager/conf.d/10-weft.conf
	[ -e $(DESTDIR)$(SYSCONFDIR)/weft/weft.yaml ] || install -D -m 644 config/example.yaml $(DESTDIR)$(SYSCONFDIR)/weft/weft.yaml
	[ -n "$(DESTDIR)" ] || getent group weft >/dev/null || groupadd --system weft

.PHONY: deps
deps: ## install the tools that the tests need, if one is missing (Debian, root)
	@test/deps.sh

.PHONY: fmt vet lint
fmt: ## fail if gofumpt would change a file
	@out=$$($(TOOL) gofumpt -l .) && [ -z "$$out" ] || \
		{ echo "gofumpt would change (run: $(TOOL) gofumpt -w FILE):"; echo "$$out"; exit 1; }
vet: ## go vet
	go vet ./...
lint: ## staticcheck and shellcheck
	$(TOOL) staticcheck ./...
	shellcheck $(SCRIPTS)

.PHONY: unit race fuzz e2e
unit: ## unit tests
	go test -shuffle=on $(UNITS)
race: ## unit tests under the race detector
	go test -race -shuffle=on $(UNITS)
fuzz: ## every fuzz target for FUZZTIME (40000x)
	@test/fuzz.sh $(FUZZTIME)
e2e: root ## end to end: real guests, namespaces, the host, failures; with the flow cache and without
	go test -p 1 -count=1 -parallel=4 -timeout=15m ./test/...
	WEFT_FASTPATH=off go test -p 1 -count=1 -parallel=4 -timeout=15m ./test/e2e ./test/gateway

.PHONY: test
test: root deps fmt vet lint unit race fuzz e2e ## everything that CI runs

.PHONY: demo run bench
demo: root deps ## real guests behind NAT and on an isolated network, in scratch namespaces
	go run ./test/demo
run: root build ## the daemon in the foreground with CONFIG (config/example.yaml)
	mkdir -p build
	bin/weftd --config $(CONFIG) --socket $(CURDIR)/build/weft.sock
bench: root build ## compare with the peers, write docs/bench/
	@test/deps.sh bench
	go run ./test/bench

.PHONY: generate generated cover clean root
generate: ## make the generated files again (needs clang and libbpf-dev; Debian 12's made the committed ones)
	go generate ./...
generated: generate ## fail if that changes a file
	git diff --exit-code --stat -- '*_bpfe[lb].*'
cover: ## coverage of the unit tests: build/cover.html
	mkdir -p build
	go test -coverpkg=./... -coverprofile=build/cover.out $(UNITS)
	go tool cover -html=build/cover.out -o build/cover.html
	go tool cover -func=build/cover.out | tail -1
clean: ## remove what make made
	rm -rf bin build
root:
	@[ "$$(id -u)" = 0 ] || { echo "make: needs root for network namespaces and devices: run it as root, or with sudo" >&2; exit 1; }

# The two commands are `make demo` and `make test`; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
GOLANGCI_LINT_VERSION := v2.15.0
GOLANGCI_LINT_MINIMUM := 2.6.0
ACTIONLINT_VERSION := v1.7.12
BUILD := build
# One set of flags for every build, so that the large AWS packages compile once.
export GOFLAGS := -trimpath -buildvcs=false
, := ,

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: go
go:
	@command -v go >/dev/null || { echo "Go is missing: install 1.26 or later (https://go.dev/doc/install)"; exit 1; }

# What takes long says so every ten seconds: $(call ticking,what) program.
ticking = @(s=0; while sleep 10 >/dev/null 2>&1; do s=$$((s + 10)); echo "$(1): $$s s"; done) & trap "kill $$!" EXIT;
# Of a test run, a line per package, what runs meanwhile, and failures in full.
GOTEST := set -o pipefail; go test -json
SHOW := | go run ./test/progress

# Both reach the linker only, so that a commit compiles nothing anew.
STAMP = -X main.version=$(shell cat terraform/VERSION) -X main.commit=$(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)

.PHONY: command
command: go
	$(call ticking,building the command (minutes$(,) the first time)) go build -ldflags "$(STAMP)" -o $(BUILD)/firstline ./cmd/firstline

# Terraform and moto: those on PATH when they fit, else installed into build/.
.PHONY: setup
setup: command ## Install what is missing: Terraform, moto
	@$(BUILD)/firstline setup

.PHONY: demo
demo: command ## Run the five stories on a local AWS
	$(call ticking,building the demo) go build -o $(BUILD)/demo ./test/demo
	@$(BUILD)/demo $(DEMO)

.PHONY: up
up: ## Keep a local AWS running to play with
	@$(MAKE) --no-print-directory demo DEMO=--keep

.PHONY: build
build: command ## Build the command and the function's zips (arm64, x86_64) into build/
	@$(BUILD)/firstline package

.PHONY: release
release: go ## Build what is published of the last commit into build/release/
	@go run ./internal/release

.PHONY: cc
cc:
	@command -v "$$(go env CC)" >/dev/null || { echo "A C compiler is missing, which Go's race detector needs: install gcc"; exit 1; }

# The tests that need neither an account nor the local AWS.
UNIT := go list ./... | grep -v '^firstline/test\|^firstline/internal/release$$'
# It decides and does nothing else, in no goroutine: the race detector would find
# nothing there, and takes four times as long.
PURE := firstline/internal/policy

.PHONY: check
check: setup ## Run the unit tests (not of the local AWS), 1,000 random days and terraform validate
	@echo "check 1/3: Go packages, and the contract of the definition"
	@$(GOTEST) -short $$($(UNIT)) ./test/asl ./test/contract ./test/dynamo ./test/peers ./test/progress ./test/sim/mutants ./internal/release $(SHOW)
	@echo "check 2/3: the simulation: scenes, and 1,000 random days"
	@$(GOTEST) -count=1 -timeout 20m ./test/sim -sim.days 1000 $(SHOW)
	@echo "check 3/3: terraform validate"
	@$(GOTEST) -count=1 -short -run '^TestTerraformIsValid$$' ./test $(SHOW)

# The race detector is for what has goroutines of ours: the local AWS has its own
# tests in 1/5, and the programs that 5/5 starts are built without it.
.PHONY: test
test: setup cc ## Run all tests: Go, the simulation, Terraform, and the stories on the local AWS
	@echo "test 1/5: Go packages, with the race detector"
	@$(GOTEST) -race $$($(UNIT) | grep -vx $(PURE)) ./test/asl ./test/dynamo ./test/localaws ./test/testbed ./test/peers ./test/progress ./test/sim/mutants $(SHOW)
	@$(GOTEST) $(PURE) $(SHOW)
	@echo "test 2/5: the simulation: scenes, and 1,000 random days"
	@$(GOTEST) -count=1 -timeout 20m ./test/sim -sim.days 1000 $(SHOW)
	@echo "test 3/5: Terraform modules, with mocked providers"
	@$(GOTEST) -count=1 -timeout 20m -run '^TestTerraform' ./test $(SHOW)
	@echo "test 4/5: contract, benchmarks and release"
	@$(GOTEST) -count=1 -timeout 20m ./test/contract ./test/bench ./internal/release $(SHOW)
	@echo "test 5/5: stories on the local AWS with the real Terraform and provider"
	@$(GOTEST) -count=1 -timeout 40m -parallel 10 -skip '^TestTerraform' ./test $(SHOW)

# SOAK is how long, FLAGS are flags of the simulation: FLAGS="-sim.faults .35".
SOAK ?= 10m
.PHONY: soak
soak: go ## Play random days for SOAK=10m, and print the seeds of failures
	@go test -count=1 -timeout 0 -v ./test/sim -run '^TestRandomDays$$' -sim.for $(SOAK) $(FLAGS)

.PHONY: mutants
mutants: go ## Break the policy and the store in each named way: the simulation must notice
	@go test -count=1 -timeout 0 -v ./test/sim/mutants -mutants.run

# In the package's own folder, go test prints what the tests print.
.PHONY: peers
peers: go ## Run the checks against servers that behave badly: Go peers, and real ones where installed
	@cd test/peers && go test -count=1 -timeout 15m -peers.real -peers.table

.PHONY: lint
lint: command lint-tool ## Run golangci-lint and terraform fmt
	@echo "lint: Go"
	$(call ticking,lint) PATH="$(CURDIR)/$(BUILD)/bin:$$PATH" golangci-lint run ./...
	@echo "lint: Terraform"
	@$(BUILD)/firstline setup --moto=false >/dev/null
	@$(BUILD)/firstline regions --check
	@PATH="$(CURDIR)/$(BUILD)/bin:$$PATH" terraform fmt -check -recursive terraform
	@echo "lint: workflow"
	@if PATH="$(CURDIR)/$(BUILD)/bin:$$PATH" command -v actionlint >/dev/null || \
		GOBIN="$(CURDIR)/$(BUILD)/bin" go install github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION); then \
		PATH="$(CURDIR)/$(BUILD)/bin:$$PATH" actionlint -shellcheck= -pyflakes= terraform/examples/github-actions.yml; \
	else echo "lint: actionlint is neither on PATH nor to be had: the workflow is not checked"; fi

.PHONY: lint-tool
lint-tool: go
	@have=$$(PATH="$(CURDIR)/$(BUILD)/bin:$$PATH" golangci-lint version --short 2>/dev/null); \
	if [ "$$(printf '%s\n' "$(GOLANGCI_LINT_MINIMUM)" "$${have#v}" | sort -V | head -n 1)" != "$(GOLANGCI_LINT_MINIMUM)" ]; then \
		echo "lint: installing golangci-lint $(GOLANGCI_LINT_VERSION) into $(BUILD)/bin (a few minutes)"; \
		GOBIN="$(CURDIR)/$(BUILD)/bin" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION); \
	fi

.PHONY: fuzz
fuzz: go ## Fuzz each target for 20 seconds
	@go vet ./... && for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
		echo "fuzz: $$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime 20s $$p || exit 1; done; done

.PHONY: bench-tool
bench-tool: setup
	$(call ticking,building the benchmarks) go build -o $(BUILD)/bench ./test/bench

.PHONY: bench
# BENCH is flags: BENCH="-only function,incident"; BENCH=-help lists them.
bench: bench-tool ## Measure everything, print it and write it into test/bench/README.md
	@$(BUILD)/bench $(BENCH)

.PHONY: bench-check
bench-check: bench-tool ## Compare ratios with the committed baseline in a quick run (minutes)
	@$(BUILD)/bench -check $(BENCH)

.PHONY: bench-baseline
bench-baseline: bench-tool ## Write the baseline of bench-check anew: the median of three quick runs
	@$(BUILD)/bench -check -update $(BENCH)

.PHONY: clean
clean: ## Remove build/
	rm -rf $(BUILD)

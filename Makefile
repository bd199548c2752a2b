# estop, the emergency stop for AI agents. 'make help' lists the targets.

GO       ?= go
BIN      := bin/estop
CACHE    := .cache
LIBCHDB  := $(CACHE)/libchdb/libchdb.so
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  := -X github.com/estop-project/estop/pipeline/node.version=$(VERSION)
# Real CloudTrail records for the demo, if they are at hand.
CLOUDTRAIL ?= ../shared/data/cloudtrail/raw
# Of 'make chaos': seeds, separated by commas, and how long the faults of each go on. KILL=5s only kills detect processes,
# PLANTED=1 plants a bug that must be found.
SEED     ?= 1
MINUTES  ?= 2

# Tests find the engine by this name, and fail rather than skip when it is missing.
export ESTOP_LIBCHDB = $(abspath $(LIBCHDB))

.DEFAULT_GOAL := help
.PHONY: help demo build libchdb proxies test test-short lint fmt docs bench eval chaos plugin clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build libchdb ## Install what is needed and see estop stop three bad agents
	@$(BIN) demo --cloudtrail "$(CLOUDTRAIL)" --clickhouse.libchdb "$(LIBCHDB)"

build: ## Build bin/estop
	@$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/estop

libchdb: ## Install the ClickHouse engine's library into .cache
	@deploy/libchdb/fetch.sh $(CACHE)/libchdb

proxies: ## Install Envoy, nginx and Caddy into .cache, for the tests of gates that are skipped without
	@deploy/proxies/fetch.sh $(CACHE)/proxies

test: lint libchdb ## Install what is needed and run all tests
	ESTOP_REQUIRE_LIBCHDB=1 $(GO) test -timeout 20m ./...
	ESTOP_REQUIRE_LIBCHDB=1 $(GO) test -race -short -timeout 20m ./detector/... ./revoke/... ./pipeline/shard ./pipeline ./pipeline/archive

test-short: libchdb ## Run the tests without the long ones
	$(GO) test -short ./...

lint: ## gofmt, go vet, staticcheck, go mod tidy
	@test -z "$$(gofmt -l . | tee -a /dev/stderr)" || { echo 'run: make fmt' >&2; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff

fmt: ## Format the code
	gofmt -w .

docs: ## Write the pages that are made from files
	@mkdir -p docs/schema && cp detector/schema.json docs/schema/detector.json
	@mkdir -p bin && $(GO) run ./bench/cmd/catalog > bin/catalog.md && mv bin/catalog.md docs/catalog.md
	@$(GO) run ./bench/cmd/reference > bin/reference.md && mv bin/reference.md docs/reference.md

bench: build libchdb ## Measure speed; writes bench/results
	$(GO) run ./bench/cmd/bench

eval: build ## Measure detection on synthetic and labelled data; writes bench/results
	@$(BIN) eval --results bench/results --html bin/eval.html

chaos: build libchdb ## Kill, pause, cut off and fill up an installation by SEED for MINUTES, and check what came of it; writes bench/results
	$(GO) run ./bench/cmd/chaos -seeds $(SEED) -minutes $(MINUTES) $(if $(KILL),-kill $(KILL)) $(if $(PLANTED),-planted)

plugin: ## Build the Grafana data source into dashboards/plugin/dist
	npm --prefix dashboards/plugin ci --no-audit --no-fund
	npm --prefix dashboards/plugin run typecheck
	npm --prefix dashboards/plugin run build
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w $(LDFLAGS)' -o dashboards/plugin/dist/gpx_estop_datasource_$$($(GO) env GOOS)_$$($(GO) env GOARCH) ./dashboards/plugin/pkg

clean: ## Remove what was built; the cache of engines stays
	rm -rf bin dashboards/plugin/dist

# classmesh: what a newcomer types. Everything needs Go only.

GO ?= go

.PHONY: test race vet bench

# All tests.
test: vet
	$(GO) test ./...

# The same with the race detector, which needs a C compiler.
race: vet
	CGO_ENABLED=1 $(GO) test -race ./...

vet:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt these files"; exit 1; }
	$(GO) vet ./...

# How fast records move, what that costs, and what the machine allows.
# BENCH_N records, BENCH_RUNS times.
BENCH_N ?= 100000
BENCH_RUNS ?= 5

bench:
	$(GO) run ./cmd/bench -n $(BENCH_N) -runs $(BENCH_RUNS)

# classmesh: what a newcomer types. Everything needs Go only.

GO ?= go

# The program is pure Go. The race detector needs cgo and with it a C compiler.
RACE := $(shell command -v $$($(GO) env CC) >/dev/null 2>&1 && echo -race)
export CGO_ENABLED := 0

.PHONY: demo build test test-norace test-lan test-arm64 vet bench

# A coordinator and three devices on this machine, with a sample class.
demo: build
	@exec bin/classmesh demo

# The program, as bin/classmesh.
build:
	@test -e bin/classmesh || echo "building the program: the first time, that takes a minute or more" >&2
	@$(GO) build -trimpath -o bin/classmesh ./cmd/classmesh

# All tests that this machine can run; what it cannot is listed at the end. What the
# race detector makes too slow, or counts wrongly, is run without it afterwards. A
# process with it lives on for so long after its end, by default for a second, and
# tests start many processes one after the other.
NORACE := TestSimulator|TestScripts|TestReplicas|TestPublishing|TestRevision|TestSpread|TestUplinkLimit|TestRandomFaults|TestThirtyDevices|TestAskedWhileOthersBring|TestAllocations|TestChoice|TestQuietLAN|TestModel|TestLiarsHide|TestCopiesLose|Conform|TestMemory|TestKilledWhile(Working|Syncing)|TestReplicaKilled|TestRowsAndBlocks|TestBytesOfAComparison|TestTwoHundred|TestRevokedDevice|TestMeasure
test: vet
	@$(if $(RACE),,echo "left out: the race detector, because there is no C compiler ($$($(GO) env CC))")
	@$(GO) run .ci/report/main.go $(if $(RACE),CGO_ENABLED=1 GORACE=atexit_sleep_ms=100) $(RACE) -vet=off -p 3 -timeout 25m ./...
	@$(MAKE) --no-print-directory -j 2 -O test-norace test-arm64 ARM64=./records

# What the race detector does not get to, beside the core on arm64, which is one process.
test-norace:
	@$(if $(RACE),$(GO) run .ci/report/main.go -run '$(NORACE)' ./mesh/exchange ./mesh ./records ./records/storetest ./records/boltstore ./cmd/classmesh ./discovery/gossip ./coordinator ./cmd/bench)

# The program on small networks with faults: cut, lossy, thin, filtered. It needs
# root, ip, tc and nft, and says so if they are not there; make test runs it too.
# TESTS=Partition chooses some; CLASSMESH_LAN_LONG=1 makes partitions longer.
TESTS ?= .
test-lan:
	@$(GO) run .ci/report/main.go -count=1 -run '$(TESTS)' ./cmd/classmesh/lantest

# The core as it runs on a Raspberry Pi, under qemu, with fewer rounds. Of it,
# make test runs the records.
QEMU := qemu-aarch64-static
ARM64 ?= ./records ./mesh/exchange
test-arm64:
	@if command -v $(QEMU) >/dev/null; then \
		$(GO) run .ci/report/main.go GOARCH=arm64 -short -timeout 30m -exec $(QEMU) $(ARM64); \
	else echo "left out: the core on arm64, because there is no $(QEMU)"; test "$$CI" != true; fi

# With the race detector, as what tests need is compiled once then.
vet:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt these files"; exit 1; }
	@$(if $(RACE),CGO_ENABLED=1) $(GO) vet $(RACE) ./... && $(GO) vet .ci/report/main.go && $(GO) vet .ci/targets/main.go

# How fast records move, what that costs, and what the machine allows. ROW: one
# row, or what several begin with; BENCH_N: zones of that many records only;
# BENCH_RUNS times; BENCH_DIR: where zones are kept for the next time;
# BENCH_FLAGS: more flags. See docs/performance.md.
BENCH_N ?= 0
BENCH_RUNS ?= 5

bench:
	@$(GO) run ./cmd/bench -n $(BENCH_N) -runs $(BENCH_RUNS) -row "$(ROW)" -dir "$(BENCH_DIR)" $(BENCH_FLAGS)

# classmesh: what a newcomer types. Everything needs Go only.

GO ?= go

.PHONY: test race vet

# All tests.
test: vet
	$(GO) test ./...

# The same with the race detector, which needs a C compiler.
race: vet
	CGO_ENABLED=1 $(GO) test -race ./...

vet:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt these files"; exit 1; }
	$(GO) vet ./...

# The commands of the project. `make help` lists them; CONTRIBUTING.md says when to use which.

CARGO ?= cargo
SKEP = target/release/skep

.DEFAULT_GOAL := help

.PHONY: help
help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/    make \1|\2/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

.PHONY: build
build: ## Build the binary, target/release/skep
	@scripts/setup build
	$(CARGO) build --release --package skep-cli

.PHONY: run
run: build ## Show the files that `cat /etc/os-release` opens; takes Rust and a linker, no privileges
	$(SKEP) run tools/opensnoop.bpf.o -- cat /etc/os-release

.PHONY: test
test: ## Install what tests need, check format and lints, run all tests
	@scripts/setup test
	@scripts/test

.PHONY: test-kernels
test-kernels: ## Run the kernel runtime's tests on this kernel and, in qemu, on Debian's 6.1 and 6.12
	@scripts/setup test-kernels
	$(CARGO) xtask vm host 6.1 6.12

AARCH64 = aarch64-unknown-linux-gnu

.PHONY: test-aarch64
test-aarch64: ## Build for aarch64, and run the tests of the virtual machine in qemu's user mode
	@scripts/setup test-aarch64
	rustup target add $(AARCH64)
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu" \
	$(CARGO) test --target $(AARCH64) --package skep-isa --package skep-verifier --package skep-vm

.PHONY: lint
lint: ## Check format, lints, documentation and structure
	@scripts/test lint

.PHONY: bench
bench: build ## Compare the cost of tracing with strace's, and of loading with libbpf's
	@scripts/setup test
	$(CARGO) xtask bench trace
	$(CARGO) xtask bench load

.PHONY: objects
objects: ## Compile tools/*.bpf.c and bench/*.bpf.c to the objects beside them
	@scripts/setup objects
	$(CARGO) xtask objects

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean

# Development commands; `make help` lists them.

.DEFAULT_GOAL := help
SHELL := /bin/bash -euo pipefail
# The development build shares its artefacts with the tests; libtorch is optimised in every build.
SEMANTIK := target/debug/semantik
DEMO := configs/demo.yaml
NEXTEST := $(shell command -v cargo-nextest)
# The name of a step of a target that takes minutes.
step = @printf '\n== %s\n' "$(1)"

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-11s %s\n", $$1, $$2 }'

.PHONY: setup
setup: ## Fetch libtorch, the model and the PostgreSQL binaries
	@.ci/setup libtorch
	@.ci/setup model
	@.ci/setup postgres

.PHONY: demo
demo: setup ## Index a real corpus with embedded stores and answer three questions
	@.ci/setup corpus debian-policy
	@.ci/setup corpus developers-reference
	@.ci/setup corpus manpages
	@.ci/setup corpus manpages-dev
	$(call step,Build (the first one takes several minutes))
	@cargo build --bin semantik --bin semantik-extract-worker
	$(call step,Index the documents: semantik run $(DEMO))
	@$(SEMANTIK) run $(DEMO) || [ $$? = 2 ]
	@for question in \
	    "how do I choose the version number of a native package" \
	    "how to convert a string to upper case in C" \
	    "which device files are pseudoterminals"; do \
	    printf '\n== %s?\n\n' "$$question"; \
	    $(SEMANTIK) search $(DEMO) "$$question" --k 3; \
	done

.PHONY: test
test: setup ## Run all tests
	@.ci/setup prometheus
	@.ci/setup systemd
	@.ci/setup chromium
	@.ci/setup programs
	$(call step,Build and run the tests (the first build takes several minutes))
ifdef NEXTEST
	@cargo nextest run --workspace
	$(call step,Examples in the documentation)
	@cargo test --workspace --doc
else
	@cargo test --workspace
endif

.PHONY: test-qdrant
test-qdrant: ## Run the tests that need a Qdrant server, at QDRANT_URL
	@: "$${QDRANT_URL:?is not set: name the gRPC address of a Qdrant server, such as http://localhost:6334}"
	@$(MAKE) --no-print-directory setup
	@cargo test -p semantik -p vectors --test it qdrant_server -- --ignored

.PHONY: check
check: setup ## Check formatting and lints
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --quiet -- -D warnings

.PHONY: doc
doc: setup ## Build the documentation of all items, and check its links
	@RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

.PHONY: fmt
fmt: ## Format the code
	@cargo fmt --all

.PHONY: snapshots
snapshots: setup ## Accept the current snapshots, JSON Schema and reference pages
	@INSTA_UPDATE=always SEMANTIK_UPDATE=1 cargo test --workspace --quiet

.PHONY: bench
bench: setup ## Run the measurements and write tables to benches/runs/
	@benches/run

# `cargo bench -p CRATE -- FILTER` runs some of them; criterion compares each with its last run.
.PHONY: microbench
microbench: ## Measure the hot paths of the libraries, without a model
	@cargo bench $(foreach crate,pipeline stages search,-p $(crate))

.PHONY: clean
clean: ## Remove build artefacts and indexes; keep downloads
	@cargo clean
	@rm -rf configs/.semantik .cache/export

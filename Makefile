# Every target installs what it needs first, so each works on a fresh Debian 12 machine as root.
PYTHON ?= python3
BERM := .venv/bin/berm
WORKERS ?= 2
PYTEST := .venv/bin/python -m pytest

.PHONY: up down test conformance lint bench lock help
.DEFAULT_GOAL := help

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/installed: requirements.lock pyproject.toml tools/install-packages
	PYTHON=$(PYTHON) tools/install-packages run
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

up: .venv/installed ## Start berm, make its base template, run a first command in a sandbox
	$(BERM) up
	@eval "$$($(BERM) env)" && .venv/bin/python examples/hello.py

down: .venv/installed ## Stop the server; sandboxes live on (KILL=1 ends them and gives everything back)
	$(BERM) down $(if $(KILL),--kill)

test: .venv/installed ## Run every test
	@PYTHON=$(PYTHON) tools/install-packages test
ifdef TESTS
	$(PYTEST) $(TESTS)
else
	# Not by workers: a bare clone(2), which some of these make, may not survive a worker's second thread.
	$(PYTEST) tests/launcher
	$(PYTEST) --ignore tests/launcher --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
endif

conformance: .venv/installed ## Write docs/conformance.md anew, from what the official clients do
	@PYTHON=$(PYTHON) tools/install-packages test
	BERM_TEST_REWRITE=1 .venv/bin/python -m pytest tests/conformance/test_page.py

lint: .venv/installed ## Format, style, types and the direction of imports
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: .venv/installed ## Measure, beside the other ways of starting a sandbox on this machine
	@PYTHON=$(PYTHON) tools/install-packages bench
	$(BERM) up
	@eval "$$($(BERM) env)" && .venv/bin/python -m bench $(BENCH)
	@eval "$$($(BERM) env)" && .venv/bin/python -m bench.templates

lock: .venv/installed ## Choose the newest versions of all dependencies and pin them
	.venv/bin/pip install --quiet uv
	.venv/bin/uv pip compile pyproject.toml --all-extras --generate-hashes --no-header --no-annotate \
		--python-version 3.11 --upgrade --output-file requirements.lock

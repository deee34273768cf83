# Two commands do everything on a fresh machine: `make demo` and `make test`.
# They need Python 3.11+, make and a package index; the environment is made in .venv.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PY := $(BIN)/python
UV_VERSION := 0.13.8
MEMBERS := $(wildcard packages/* apps/* servers/*)
MANIFESTS := pyproject.toml constraints.txt $(addsuffix /pyproject.toml,$(MEMBERS))
export UV_NO_PROGRESS := 1

.PHONY: help
help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---------------------------------------------------------------- set-up

.PHONY: setup
setup: .venv/.ready ## create .venv with every package (editable) and the development tools

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: cannot set up: $(PYTHON) is older than Python 3.11. Say which to use: make PYTHON=python3.13 setup"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: $(MANIFESTS) | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(PY) --constraints constraints.txt --group dev $(addprefix --editable ./,$(MEMBERS))
	@touch $@

.PHONY: lock
lock: | $(BIN)/uv ## compile constraints.txt anew from what the packages ask for
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-emit-index-url --no-annotate \
	  $(foreach m,$(MEMBERS),--no-emit-package $(notdir $(m))) --group dev $(addsuffix /pyproject.toml,$(MEMBERS)) --output-file constraints.txt

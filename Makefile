# `make` runs the quickstart, `make test` the tests; both first install what they need into .venv.
# All they need is Python 3.11 or newer and a package index.

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
ENGINES := .venv-engines
VLLM := .venv-vllm
JOBS ?= 3
BIN := $(VENV)/bin
# Each process of a run is a Python of its own: without kept bytecode it would compile all it imports, again each time.
unexport PYTHONDONTWRITEBYTECODE
UV_VERSION := 0.13.9
# The environment is ours, whatever other one is active; --inexact so that `make` after `make test` removes nothing.
SYNC := env -u VIRTUAL_ENV UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --frozen --inexact --no-dev

.DEFAULT_GOAL := quickstart
.PHONY: quickstart test test-engines test-vllm lint format docs benchmarks clean

quickstart: $(VENV)/.installed-quickstart ## run a pipeline of four tasks on a small local model
	$(BIN)/python docs/examples/quickstart.py

test: $(VENV)/.installed-test ## run all tests, some side by side: most of them wait for processes
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal $(TESTS)

test-engines: $(ENGINES)/.installed ## run what runs torch, in an environment of its own (gigabytes where torch comes with CUDA)
	$(ENGINES)/bin/python -m pytest -m engines tests/engines

test-vllm: $(VLLM)/.installed ## run what runs vLLM, on the CPU, in an environment of its own (gigabytes)
	$(VLLM)/bin/python -m pytest -m vllm tests/engines/test_vllm.py

lint: $(VENV)/.installed-lint ## check style, types and who imports whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(VENV)/.installed-lint ## rewrite the code in the house style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.installed-test ## rewrite the pages that are made from code and from recorded results
	$(BIN)/python docs/build.py

benchmarks: $(VENV)/.installed-test ## measure everything of docs/benchmarks.md again (about half an hour)
	$(BIN)/python -m tests.benchmarks.run

$(BIN)/uv:
	@test -n "$(PYTHON)" || { echo "distilmq needs Python 3.11 or newer with venv; set PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/.installed-quickstart: $(BIN)/uv pyproject.toml uv.lock
	$(SYNC) --extra quickstart
	@touch $@

$(VENV)/.installed-test: $(BIN)/uv pyproject.toml uv.lock
	$(SYNC) --group test
	@touch $@

$(VENV)/.installed-lint: $(BIN)/uv pyproject.toml uv.lock
	$(SYNC) --group test --group lint
	@touch $@

# pip, since some machines have a build of torch for the CPU where pip looks.
$(ENGINES)/.installed: tests/engines/requirements.txt pyproject.toml
	$(PYTHON) -m venv $(ENGINES)
	$(ENGINES)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/engines/requirements.txt -e .
	@touch $@

# Text needs no sounds and pictures, and vLLM does not start where their builds are for another torch.
$(VLLM)/.installed: tests/engines/requirements-vllm.txt pyproject.toml
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/engines/requirements-vllm.txt -e .
	$(VLLM)/bin/python -m pip uninstall --quiet --disable-pip-version-check --yes torchaudio torchcodec torchvision
	@touch $@

clean: ## remove the environment and what tools left behind
	rm -rf $(VENV) $(ENGINES) $(VLLM) .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# The two commands of a fresh machine: `make demo` and `make test`. All else is plain Snakemake.
PYTHON ?= python3
BIN := .venv/bin
# Tests wait for Snakemake, and that for its jobs: one more of them at a time than there are cores.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(4, len(os.sched_getaffinity(0)) + 1))')

.PHONY: setup demo test lint format lock

demo: setup
	@$(BIN)/snakemake --cores 2 --quiet host reason rules
	@echo; echo "Done. Open results/phantom/report/index.html in a browser."

test: setup lint .venv/validator/.locked
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 25

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt Snakefile rules

setup: .venv/.locked

# The environment of envs/: exact versions and hashes, and nothing that pip chooses by itself.
.venv/.locked: envs/requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Synthorax needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 ...")'
	@echo "Installing the locked environment into .venv (about 6 GB with PyTorch's CUDA libraries; some minutes)"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r envs/requirements.lock
	@touch $@

# What judges the crate of a run: a tool of the tests, whose own needs must not hold back the workflow's.
.venv/validator/.locked: envs/validator.lock .venv/.locked
	@$(BIN)/python -m venv --clear .venv/validator
	@.venv/validator/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r envs/validator.lock
	@touch $@

# Resolves what envs/*.in ask for anew. Needs uv (`pip install uv`).
lock:
	cd envs && for name in requirements validator; do \
		uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--no-annotate --no-emit-index-url --custom-compile-command "make lock" \
			--upgrade $$name.in --output-file $$name.lock || exit 1; done

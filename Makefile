# One command from a fresh machine with python3, make and git: `make demo`, `make test`.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
# The one lower bound that `make test-oldest` leaves to its caller: TORCH=2.6.0
TORCH ?= 2.13.0

BIN := $(VENV)/bin
OLDEST := .venv-oldest
SMALL := build/examples
export MPLBACKEND ?= Agg
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-slow test-oldest lint examples docs clean distclean FORCE

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /:/' \
	    | while IFS=: read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.plot ## Set up, then train on real digits: a table and two pictures.
	@echo "== demo: features of a GAN's discriminator on scikit-learn's digits"
	@$(BIN)/python examples/digits_demo.py

test: lint examples ## Set up, then run the linters, the examples and the tests.
	@echo "== tests: unit tests, scikit-learn's checks, doctests ($(WORKERS) workers)"
	@$(BIN)/python -m pytest -n $(WORKERS)

# pytest's exit status 5 says that no test is marked slow.
test-slow: $(VENV)/.dev ## Set up, then run the tests that are marked slow.
	@echo "== slow tests"
	@$(BIN)/python -m pytest -n $(WORKERS) -m slow || [ $$? -eq 5 ]

test-oldest: $(OLDEST)/.dev ## Run the tests against the oldest supported versions.
	@echo "== tests against the lower bounds, torch $(TORCH)"
	@$(OLDEST)/bin/python -m pytest -n $(WORKERS)

lint: $(VENV)/.dev ## Check style and spelling.
	@echo "== ruff and codespell"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/codespell

examples: $(VENV)/.dev ## Run the examples at a small size.
	@mkdir -p $(SMALL)
	@printf '%s\n' $(sort $(wildcard examples/plot_*.py)) | OMP_NUM_THREADS=1 xargs -P $(WORKERS) -I{} \
	    sh -c 'cd $(SMALL) && echo "== {}" && $(CURDIR)/$(BIN)/python $(CURDIR)/{}'
	@echo "== examples/digits_demo.py"
	@cd $(SMALL) && $(CURDIR)/$(BIN)/python $(CURDIR)/examples/digits_demo.py \
	    --draws 1 --jobs 1 --epochs 1 --classifier-epochs 1 --labels 20 --classifier-labels 20

docs: $(VENV)/.docs ## Build the documentation into docs/_build/html.
	@echo "== documentation, the gallery's examples included"
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

clean: ## Remove what was built; keep the virtual environments.
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache outputs
	rm -rf docs/_build docs/auto_examples docs/generated docs/whats_new.rst docs/sg_execution_times.rst
	find sklgan tests examples benchmarks docs -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## Remove the virtual environments too.
	rm -rf $(VENV) $(OLDEST)

# --- set-up -------------------------------------------------------------------------
# A stamp file in the virtual environment for each set of extras: a second `make` does
# nothing, a changed pyproject.toml or constraints.txt installs again.

QUIET := if [ -t 1 ]; then quiet=; else quiet=-qq; fi

$(VENV)/.created $(OLDEST)/.created:
	@echo "== creating the virtual environment $(@D)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "The pinned set needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(@D) || { rm -rf $(@D); \
	    echo "python3 lacks venv (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@touch $@

$(VENV)/.plot $(VENV)/.dev $(VENV)/.docs: $(VENV)/.%: pyproject.toml constraints.txt | $(VENV)/.created
	@echo "== installing sklgan[$*]; the first time takes minutes, most of it PyTorch"
	@$(QUIET); $(BIN)/python -m pip install $$quiet -c constraints.txt -e '.[$*]'
	@touch $@

# Replaced only where it differs, so that another TORCH installs again and the same one
# does not. Each torch asks for a sympy of its own.
$(OLDEST)/constraints.txt: constraints-oldest.txt constraints.txt FORCE | $(OLDEST)/.created
	@awk -F== 'FNR == NR { if (NF > 1) oldest[$$1]; print; next } !($$1 in oldest)' \
	    constraints-oldest.txt constraints.txt \
	    | sed -e 's/^torch==.*/torch==$(TORCH)/' -e '/^sympy==/d' > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(OLDEST)/.dev: pyproject.toml $(OLDEST)/constraints.txt
	@echo "== installing sklgan[dev] at its lower bounds; this takes minutes"
	@$(QUIET); $(OLDEST)/bin/python -m pip install $$quiet -c $(OLDEST)/constraints.txt -e '.[dev]'
	@touch $@

# Everything a user or a developer does with this checkout. All of it needs Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := $(VENV)/demo
RUN := $(BIN)/bulk-reset
STATE := --sandbox-state $(DEMO)/story.json

.DEFAULT_GOAL := help
.PHONY: help install demo test cover bench soak lint clean

help:  ## Say what can be made
	@echo "bulk-reset: update thousands of incidents from a spreadsheet. Targets:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1   \2/p' $(MAKEFILE_LIST)

install: $(STAMP)  ## Make .venv with bulk-reset and the developers' tools in it

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "bulk-reset needs Python 3.11 or newer; say make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing into $(VENV) (a minute or two, only when pyproject.toml has changed) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)  ## Pull, plan, run, verify and undo on the built-in sandbox: the README's story
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	$(RUN) pull $(DEMO)/month.xlsx --since 30d $(STATE)
	$(BIN)/python samples/edit_in_excel.py $(DEMO)/month.xlsx
	$(RUN) plan $(DEMO)/month.xlsx --html $(STATE)
	$(RUN) run $(DEMO)/month.xlsx --canary 5 --yes --verify $(STATE)
	$(RUN) report $(DEMO)/month.sandbox.report.csv --xlsx --quiet
	$(RUN) undo $(DEMO)/month.sandbox.report.csv --yes --verify $(STATE)
	@echo; echo "All of its files:"; ls $(DEMO)

test: $(STAMP)  ## Run the tests
	$(BIN)/python -m pytest --numprocesses auto

cover: $(STAMP)  ## Run the tests, and show the branches that none of them takes
	$(BIN)/python -m pytest --numprocesses auto --cov --cov-report=term-missing

bench: $(STAMP)  ## Measure speed, memory and the use of the quota, against other ways to do it
	$(BIN)/python tests/bench

soak: $(STAMP)  ## Kill runs of 2,000 rows a hundred times and hold the books against each other
	$(BIN)/python tests/soak.py

lint: $(STAMP)  ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## Remove .venv and every cache
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

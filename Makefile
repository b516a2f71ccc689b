PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
# Tests choose their own services, whatever the shell's environment names.
PLAIN := env -u DATABASE_URL -u REDIS_URL -u DJANGO_DEBUG
PYTEST := $(PY) -m pytest --quiet

.PHONY: run test engines chaos soak fuzz bench matrix latest lint types messages lock screenshots clean

run: .venv/run
	@$(PY) manage.py migrate --noinput --verbosity 0
	@case "$${DJANGO_DEBUG:-1}" in 1|[Tt]rue|[Yy]es) $(PY) manage.py demo_data && \
		echo "Log in as alice, bob, carol or operator (password demo)";; \
		*) $(PY) manage.py collectstatic --noinput --verbosity 0;; esac
	@echo "Notify Site: http://$(HOST):$(PORT)/"
	@exec $(PY) -m notifications.server -b $(HOST) -p $(PORT) notify_site.asgi:application

test: .venv/dev
	@$(PY) -m tests.ensure_browser
	@echo "Unit and socket tests on SQLite"
	@$(PLAIN) $(PYTEST) -n 2 tests/unit tests/sockets
	@echo "The model of the protocol"
	@$(PLAIN) $(PYTEST) -n 2 tests/model
	@echo "Unit and socket tests on PostgreSQL"
# The database need not be dropped, as the server goes; threads may still be connected.
	@$(PLAIN) $(PY) -m tests.with_postgres $(PYTEST) -n 2 -m database --reuse-db \
		tests/unit tests/sockets
	@echo "Cluster tests"
	@$(PLAIN) $(PYTEST) -n 2 -m "not slow and not alone" tests/cluster
	@echo "Cluster tests that measure fractions of a second, one by one"
	@$(PLAIN) $(PYTEST) -m alone tests/cluster
	@echo "Traps, shown on plain Channels and the seed"
	@$(PLAIN) $(PYTEST) -n 2 tests/traps
	@echo "Slow cluster tests, in parallel"
	@$(PLAIN) $(PYTEST) -m "slow and not alone" -n 4 tests/cluster
	@echo "Browser tests"
# One at a time: the browser and the server are as busy as two processors allow.
	@$(PLAIN) $(PYTEST) tests/browser

# The main paths in Firefox and WebKit as well.
engines: .venv/dev
	@$(PY) -m tests.engines.ensure
	@$(PLAIN) $(PYTEST) tests/engines

# For example: make chaos CHAOS="--seed 7 --minutes 2"; --help names the rest.
chaos: .venv/dev
	@$(PLAIN) $(PY) -m chaos $(CHAOS)

# For example: make soak SOAK="--minutes 60"; --help names the rest.
soak: .venv/dev
	@$(PLAIN) $(PY) -m soak $(SOAK)

# For example: make fuzz FUZZ="--seconds 60 frames"; --help names the rest.
fuzz: .venv/fuzz
	@$(PLAIN) $(PY) -m fuzz $(FUZZ)

# All of it; some of it with `.venv/bin/python -m benchmarks --help`.
bench: .venv/bench
	@$(PLAIN) $(PY) -m benchmarks

# Each supported Python with each Django that supports it; they have to be on the PATH.
matrix: .venv/dev
	@$(PLAIN) $(PY) -m nox --session matrix

# The newest release of every dependency, and not those of the lock.
latest: .venv/dev
	@$(PLAIN) $(PY) -m nox --session latest

lint: .venv/dev
	@$(PY) -m ruff check --quiet
	@$(PY) -m ruff format --check --quiet
	@$(PY) -m tests.javascript lint

types: .venv/dev
	@$(PY) -m mypy --no-error-summary
	@$(PY) -m tests.javascript types

# Brings the catalogs of translations up to date, and says what is to be translated.
messages: .venv/dev
	@$(PY) -m tests.messages

# With the oldest supported Python, so that the pins suit every newer one.
lock: .venv/dev
	@$(PIP) install pip-tools
	@echo "Locking requirements.txt, requirements-dev.txt and requirements-bench.txt"
	@$(LOCK) --extra demo --output-file requirements.txt
	@$(LOCK) --extra demo --extra dev --constraint requirements.txt --output-file requirements-dev.txt
	@$(LOCK) --extra demo --extra bench --constraint requirements-dev.txt --output-file requirements-bench.txt

LOCK := CUSTOM_COMPILE_COMMAND="make lock" $(PY) -m piptools compile pyproject.toml --quiet \
	--upgrade --strip-extras --allow-unsafe --no-emit-options

screenshots: .venv/dev
	@$(PY) -m docs.screenshots

clean:
	@rm -rf .venv .coverage .hypothesis .mypy_cache .nox .pytest_cache .ruff_cache build *.egg-info staticfiles
	@find . -name __pycache__ -prune -exec rm -rf {} +

.venv/run: requirements.txt | $(PY)
	@echo "Installing requirements.txt"
	@$(PIP) install -r requirements.txt
	@touch $@

.venv/dev: requirements-dev.txt | $(PY)
	@echo "Installing requirements-dev.txt"
	@$(PIP) install -r requirements-dev.txt
	@touch $@

.venv/bench: requirements-bench.txt | $(PY)
	@echo "Installing requirements-bench.txt"
	@$(PIP) install -r requirements-bench.txt
	@touch $@

.venv/fuzz: requirements-fuzz.txt | .venv/dev
	@echo "Installing requirements-fuzz.txt"
	@$(PIP) install -r requirements-fuzz.txt
	@touch $@

$(PY):
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || { echo "Notify Site needs Python 3.11 or newer: install it, or name it with PYTHON=."; exit 1; }
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || { echo "Python's venv module is missing: install it (on Debian and Ubuntu: python3-venv)."; exit 1; }
	@echo "Creating .venv"
	@$(PYTHON) -m venv .venv

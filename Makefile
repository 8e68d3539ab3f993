# Needs Python 3.10 or newer with its venv module, and make. Everything else is installed into $(VENV).

PORT ?= 8000
PYTHON ?= python3
# One environment for each Python: `PYTHON=python3.12 make test` leaves .venv alone.
VENV ?= $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN = $(VENV)/bin

.PHONY: help demo pictures test matrix faults services bench docs check clean

help:  ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-example  ## Run the shop with an embedded Polar on 127.0.0.1:8000 (PORT=… for another port)
	@$(BIN)/python -m example_project.demo --port $(PORT)

pictures: $(VENV)/.installed-test  ## Take the README's pictures from the demo, with Chromium
	@$(BIN)/python -m example_project.demo.pictures docs/images

test: $(VENV)/.installed-test  ## Run the tests, with coverage
	$(BIN)/python -m pytest --cov

# Pythons that are on the PATH, or that pyenv keeps. One cell: `.venv/bin/nox -s "tests(3.12-django6.0)"`.
matrix: $(VENV)/.installed-nox  ## Test the built package on each Python of this machine with each Django
	$(BIN)/python -m nox

faults: $(VENV)/.installed-test  ## Play every way in which Polar can fail, and print the table
	$(BIN)/python -m pytest tests/faults -x -q

# Addresses: POSTGRES_URL, MARIADB_URL, REDIS_URL, MEMCACHED_URL; without them the usual local ports. What does not answer
# is skipped by name. Its driver for MariaDB is compiled, with Debian's libmariadb-dev.
services: $(VENV)/.installed-services  ## Show what is promised on PostgreSQL, MariaDB, SQLite, Redis and Memcached
	@$(BIN)/python -m tests.services

# With PostgreSQL and Redis where they answer (POSTGRES_URL, REDIS_URL), and beside Polar's official SDK.
bench: $(VENV)/.installed-bench .venv-sdk-0.32/.installed .venv-sdk-1.0/.installed  ## Measure, and print the table
	@$(BIN)/python -m benchmarks

.venv-sdk-%/.installed: pyproject.toml
	@echo "Installing polar-sdk $* into .venv-sdk-$* ..."
	@$(PYTHON) -m venv .venv-sdk-$*
	@.venv-sdk-$*/bin/python -m pip install --quiet --upgrade pip
	@.venv-sdk-$*/bin/python -m pip install --quiet --group bench-sdk django "polar-sdk==$*.*"
	@touch $@

# All of it each time: what was built before is neither looked at for warnings again nor led to by its new name.
docs: $(VENV)/.installed-docs  ## Build the pages of docs/ into docs/_build; a warning is an error
	$(BIN)/python -m sphinx -a -E -W --keep-going -n -q docs docs/_build

check: $(VENV)/.installed-lint  ## Check format, lint, types and migrations
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python manage.py makemigrations --check --settings tests.settings

clean:  ## Remove the virtual environments and what tools left behind
	rm -rf .venv .venv-* $(VENV) build dist docs/_build htmlcov .coverage .coverage.* .hypothesis .mypy_cache .nox .pytest_cache .ruff_cache

# The stamps say what is installed, and are older than pyproject.toml when that has changed.
$(VENV)/.installed-%: pyproject.toml | $(VENV)/.made
	@echo "Installing the package and its dependency group \"$*\" into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --editable . --group $*
	@touch $@

# Dependency groups need pip 25.1; a Debian's own may be older.
$(VENV)/.made:
	@echo "Making a virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

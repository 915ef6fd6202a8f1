# make demo    install, simulate a week of a news portal's logs, adapt day by day, show the report
# make test    install, then every test
# make check   format, lint, types, import contracts, unit tests
.PHONY: demo test check lint install lock clean

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# A Monday to a Sunday; the shift is planted on the Friday.
FIRST_DAY := 2026-03-02
LAST_DAY := 2026-03-08

install: $(INSTALLED)

# torch is named with its exact version in the same call: a bare `torch` may resolve to a larger build.
$(INSTALLED): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock torch==2.13.0 -e '.[dev]'
	@touch $@

demo: install
	@$(BIN)/dayspring simulate --from $(FIRST_DAY) --days 7 --shift category_mix:5 --shift new_topic:5
	@$(BIN)/dayspring backfill portal --from $(FIRST_DAY) --to $(LAST_DAY)

# Two processes; each does its sums on one thread, for more would only wait for each other.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	$(BIN)/python -m pytest tests/unit -m "not slow"

lock: install
	@head -2 requirements.lock > requirements.lock.tmp
	@$(BIN)/python -m pip freeze --exclude-editable --exclude dayspring | sed 's/+cpu$$//' >> requirements.lock.tmp
	@mv requirements.lock.tmp requirements.lock

clean:
	rm -rf .dayspring .mypy_cache .ruff_cache .pytest_cache

# Every command here is one line of Python tooling; `make check` is exactly what CI runs.
PYTHON ?= python

.PHONY: check slow format freeze-names

check:  ## formatting, lint, types, import rules, spelling, budgets and every fast test
	$(PYTHON) -m pytest -n logical

slow:  ## the tests that take more than a few seconds
	$(PYTHON) -m pytest -m slow

format:  ## rewrite what ruff can rewrite
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

freeze-names:  ## make today's public names the promised ones (see CONTRIBUTING.md)
	$(PYTHON) -c 'import regard; print(*sorted(regard.__all__), sep="\n")' > tests/architecture/public_names.txt

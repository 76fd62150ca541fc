# Short names for what the README spells out.
.PHONY: run test check screenshots

run:
	python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt . && .venv/bin/tui-gen

test:
	python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[test]' && .venv/bin/pytest -n auto

check:
	.ci/run

screenshots:
	.venv/bin/python docs/screenshots.py

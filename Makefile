# Short names for what the README spells out.
.PHONY: run test check screenshots models

run:
	python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt . && .venv/bin/tui-gen

test:
	python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[test]' && .venv/bin/pytest -n auto

check:
	.ci/run

# every model that ships, from its weights: after a change of the exporter
models:
	set -e; for folder in models/*/; do .venv/bin/python -m export $$folder/weights.safetensors -o $$folder; done

screenshots:
	.venv/bin/python docs/screenshots.py

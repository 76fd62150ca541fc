# Short names for what README and CONTRIBUTING spell out.
.PHONY: run test check screenshots models pages

run:
	python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt . && .venv/bin/tui-gen

test:
	python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[test]' && .venv/bin/pytest -n auto

check:
	.ci/run

# every model that ships, from its weights: after a change of the exporter
models:
	set -e; for folder in models/*/; do .venv/bin/python -m export $$folder/weights.safetensors -o $$folder; done

pages:
	.venv/bin/python docs/build.py

screenshots:
	.venv/bin/python docs/screenshots.py

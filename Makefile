# One command each to see it, test it and check it. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
PDM_DATA ?= ../shared/data
WORKERS ?= -n logical --maxprocesses 4 --dist loadfile
export PDM_DATA

.PHONY: help demo demo-servers up test test-slow check format bench-forecast bench-wear bench-decisions bench-speed bench-ingest bench-million bench-compaction bench-influx chaos bench-plant train lock clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: .venv/ready ## twelve pumps live to failure; ARGS="--until-done --json" ends by itself
	$(BIN)/pdm-twin demo $(ARGS)

demo-servers: .venv/ready-to-test ## the demo on Debian's InfluxDB 1.6, PostgreSQL and Mosquitto
	$(BIN)/python -m benchmarks.demo_servers $(ARGS)

test: .venv/ready-to-test ## all tests but the slow ones, with a real broker and a real browser
	$(BIN)/pytest $(WORKERS) $(ARGS)

test-slow: .venv/ready-to-test ## the slow tests
	$(BIN)/pytest -m slow $(ARGS)

check: .venv/ready-to-test ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/ready-to-test ## put the code into its standard form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-forecast: .venv/ready-to-bench ## accuracy on public run-to-failure data (PDM_DATA)
	$(BIN)/python -m benchmarks.forecast $(ARGS)

bench-wear: .venv/ready-to-bench ## declared wear on simulated fleets: what its bands hold, and what it costs
	$(BIN)/python -m benchmarks.declared_wear $(ARGS)

bench-decisions: .venv/ready-to-bench ## forecasts, alerts and costs over 20 simulated stations and the turbofans
	$(BIN)/python -m benchmarks.decisions $(ARGS)

bench-speed: .venv/ready-to-bench ## speed as ratios, side by side in one run; ARGS="ticks influx" does parts
	$(BIN)/python -m benchmarks.speed $(ARGS)

bench-ingest: .venv/ready-to-bench ## readings in and back, side by side with other ways
	$(BIN)/python -m benchmarks.ingest $(ARGS)

bench-million: .venv/ready-to-bench ## a million readings imported into each store, and deleted by retention
	$(BIN)/python -m benchmarks.million $(ARGS)

bench-compaction: .venv/ready-to-bench ## readings on disk and read back, before and after compaction
	$(BIN)/python -m benchmarks.compaction $(ARGS)

chaos: .venv/ready-to-bench ## faults on purpose with real servers: kills, outages, full disks, bad data; ARGS="C1 C5" runs some
	$(BIN)/python -m benchmarks.chaos $(ARGS)

bench-influx: .venv/ready-to-bench ## readings to InfluxDB and back, beside what its clients do
	$(BIN)/python -m benchmarks.influx $(ARGS)

bench-plant: .venv/ready-to-bench ## the simulated plant against published physics and its own terms
	$(BIN)/python -m benchmarks.plant_physics $(ARGS)

train: .venv/ready ## train the shipped pump model again
	$(BIN)/python pipelines/train_models.py pump $(ARGS)

lock: ## pin all packages by hash, without addresses
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate \
	  pyproject.toml --group pyproject.toml:build -o requirements.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate \
	  pyproject.toml --group pyproject.toml:build --group pyproject.toml:dev -o requirements-dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate \
	  pyproject.toml --group pyproject.toml:build --group pyproject.toml:dev --group pyproject.toml:bench \
	  -o requirements-bench.txt

clean: ## remove what make has made
	rm -rf .venv build dist benchmarks/results .mypy_cache .ruff_cache .pytest_cache

.venv/bin/python:
	.ci/debian-packages libgomp1 $$($(PYTHON) -c 'import ensurepip' 2>/dev/null || echo python3-venv)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv .venv

.venv/ready: requirements.txt pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/ready-to-test: requirements-dev.txt .venv/ready .ci/promtool
	.ci/debian-packages mosquitto chromium influxdb postgresql
	.ci/promtool $(BIN)/promtool
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

.venv/ready-to-bench: requirements-bench.txt .venv/ready-to-test
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-bench.txt
	@touch $@

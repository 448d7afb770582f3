# Each target does its own set-up: the environment goes into .venv and is renewed when its pins change.
PYTHON ?= python3
BIN := .venv/bin
# Building `sam2` takes a torch of its own: ours, and no newer one with CUDA. Newer pips want the second name.
SAM2_BUILD := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt SAM2_BUILD_CUDA=0

.PHONY: help demo vpbench vpbench-demo train-demo inpaint-demo test test-slow test-all lint format clean

help:
	@echo "make demo       build a data set from real footage into runs/demo (about 3 minutes after the install)"
	@echo "make vpbench    make VPBench from a run, and the split that holds it out: RUN=runs/demo INPUT=footage/demo"
	@echo "make vpbench-demo  run methods on the demo's VPBench, score them, and write the report into runs/vpbench-demo"
	@echo "make train-demo train both stages on the demo's clips into runs/train-demo: a small backbone, stopped in the middle"
	@echo "make inpaint-demo  fill the hole of an object in one of the demo's clips with it, into runs/inpaint-demo"
	@echo "make test       every test that is not marked slow; make test-slow runs the others, make test-all both"
	@echo "make lint       ruff and pyright"
	@echo "make format     let ruff format the code"
	@echo "make clean      remove the environment, the demo and its footage"

.venv/.base: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/.dev: .venv/.base
	$(SAM2_BUILD) $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,sam2]'
	$(BIN)/python -m tools.torchvision_cpu_hook
	@touch $@

footage/demo/.complete: .venv/.base tools/demo_footage.py $(wildcard benchmark/footage/*.py)
	$(BIN)/python -m tools.demo_footage footage/demo
	@touch $@

demo: footage/demo/.complete
	rm -rf runs/demo
	$(BIN)/vpdata build --config configs/demo.yaml --input footage/demo --output runs/demo
	$(BIN)/vpdata check runs/demo
	$(BIN)/python -m tools.check_demo runs/demo

runs/demo/report.html:
	$(MAKE) demo

.venv/.train: .venv/.base
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train]'
	$(BIN)/python -m tools.torchvision_cpu_hook
	@touch $@

# 75 is the exit status of a training that stopped on demand; the second call goes on with it.
train-demo: runs/demo/report.html .venv/.train
	rm -rf runs/train-demo
	$(BIN)/vpdata encode --run runs/demo --config configs/train/demo_encode.yaml --output runs/train-demo/latents --engine local
	$(BIN)/vpdata train --config configs/train/demo.yaml --set stop_at_step=100; test $$? -eq 75
	$(BIN)/vpdata train --config configs/train/demo.yaml
	$(BIN)/python -m tools.check_train_demo configs/train/demo.yaml
	$(BIN)/vpdata sample --config configs/train/demo.yaml --num-steps 10
	$(BIN)/vpdata train --config configs/train/demo_id_adapter.yaml
	$(BIN)/python -m tools.check_train_demo configs/train/demo_id_adapter.yaml

# make vpbench RUN=runs/mine INPUT=videos/ [BENCH_CONFIG=...]; without them the demo's, small.
RUN ?= runs/demo
ifeq ($(RUN),runs/demo)
INPUT ?= footage/demo
BENCH_CONFIG ?= configs/vpbench_demo.yaml
endif
BENCH_CONFIG ?= configs/vpbench.yaml

# What is there stays: of a whole benchmark `make` says how to make it anew. An unfinished one is begun anew.
vpbench: .venv/.base $(filter runs/demo/report.html,$(RUN)/report.html)
	$(BIN)/python -m benchmark make --run $(RUN) --config $(BENCH_CONFIG) $(if $(INPUT),--input $(INPUT)) \
		$(if $(BUILD_CONFIG),--build-config $(BUILD_CONFIG))
	$(BIN)/vpdata check $(RUN)

runs/demo/vpbench/bench.yaml:
	$(MAKE) vpbench RUN=runs/demo

comma := ,
# What `make train-demo` trained takes part where it is there.
DEMO_METHODS := copy,telea,temporal-median$(if $(wildcard runs/train-demo/context_encoder/context_encoder/config.json),$(comma)ours)

vpbench-demo: runs/demo/vpbench/bench.yaml .venv/.train
	rm -rf runs/vpbench-demo
	$(BIN)/python -m benchmark run --bench runs/demo/vpbench --config configs/methods_demo.yaml --methods $(DEMO_METHODS) --output runs/vpbench-demo
	$(BIN)/python -m benchmark score --bench runs/demo/vpbench --results runs/vpbench-demo
	$(BIN)/python -m benchmark report --bench runs/demo/vpbench --results runs/vpbench-demo --reference telea

runs/train-demo/context_encoder/context_encoder/config.json:
	$(MAKE) train-demo

inpaint-demo: runs/train-demo/context_encoder/context_encoder/config.json
	rm -rf runs/inpaint-demo
	$(BIN)/python -m tools.inpaint_demo prepare runs/demo runs/inpaint-demo
	$(BIN)/vpdata inpaint --config configs/inpaint_demo.yaml --video runs/inpaint-demo/video.mp4 \
		--mask runs/inpaint-demo/mask.json --replace "a green ball on the grass" --output runs/inpaint-demo/output.mp4
	$(BIN)/python -m tools.inpaint_demo check runs/inpaint-demo

# Two processes, since tests wait for much of their time; a file's tests stay together, as their fixtures are made once.
test: .venv/.dev
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: .venv/.dev
	$(BIN)/python -m pytest -m slow

test-all: .venv/.dev
	$(BIN)/python -m pytest

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv runs/demo runs/train-demo runs/inpaint-demo runs/vpbench-demo footage/demo

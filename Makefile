# The two commands: `make demo` and `make test`. Both set up .venv first, once.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# DeepSpeed compiles its host optimizer when zero2_offload.json is first used. A run killed while it does leaves a lock that
# later ones would wait for without end: kept in a folder of its own, where `unlock` removes locks older than any compilation.
export TORCH_EXTENSIONS_DIR ?= $(CURDIR)/.torch_extensions
export TOKENIZERS_PARALLELISM := false
PYTEST := python -m pytest --durations=10
# A worker takes whole modules, which share what they prepare; the two hosts of tests/cluster are in one module.
PARALLEL := -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.PHONY: demo demo-seeds studies-toy real-run real-study test test-real test-slow test-triton soak lint clean unlock

demo: .venv/installed unlock
	bash examples/toyworld/demo.sh

demo-seeds: .venv/installed unlock
	python -m bench.toyworld --seeds 1 2 3

# The twins of configs/studies on the toy world: at most an hour on two cores. The same command goes on.
studies-toy: .venv/installed unlock
	test -f data/toyworld/world.json || python -m examples.toyworld --out data/toyworld
	for how in exact lossy; do \
	    test -f data/toyworld/$$how/translated/mnli/ja/translation.json || python -m data_prep translate --tasks mnli \
	        --to de,sw,ja --source data/toyworld --data data/toyworld/$$how --limit 4000 \
	        --model examples.toyworld.translator:$$(echo $$how | tr a-z A-Z) || exit; done
	for study in configs/studies/toy/*.json; do \
	    python -m studies toy/$$(basename $$study .json) run --jobs 2 --num-gpus 1 || exit; done

# All but the kernels with SELECT= : in one session, what several tests look at is made once.
SELECT ?= not real and not slow
test: .venv/installed unlock
	$(PYTEST) $(PARALLEL) -m "$(SELECT)" -rs

# Phases 2 and 3 from multilingual-e5-small on samples of the real datasets: about 110 minutes on two cores.
SAMPLES ?= ../shared
real-run: .venv/installed unlock data/e5-small
	ENCODER=data/e5-small DATA=$(SAMPLES)/data bash examples/real/run.sh

# The studies of configs/studies/real on the same encoder and samples: about an hour on two cores.
LANGUAGES := deu est fra kaz rus tam tha cmn
real-study: .venv/installed unlock data/e5-small
	mkdir -p data/real/tatoeba
	for code in $(LANGUAGES); do ln -sf $(realpath $(SAMPLES))/data/raw/tatoeba/tatoeba.$$code-eng.* data/real/tatoeba || exit; done
	for study in configs/studies/real/*.json; do \
	    python -m studies real/$$(basename $$study .json) run --num-gpus 2 --source $(SAMPLES)/data \
	        --data tatoeba=data/real/tatoeba --data xnli=$(SAMPLES)/data || exit; done

data/e5-small: | .venv/installed
	python $(SAMPLES)/tools/real_encoder.py $@.part && mv $@.part $@

test-slow: .venv/installed unlock
	$(PYTEST) $(PARALLEL) -m slow -rs

test-real: .venv/installed unlock
	$(PYTEST) -m real -rs -s

# The GPU kernels in Triton's interpreter, where there is no GPU; apart from the rest, which does not need Triton there.
test-triton: .venv/installed .triton/installed
	TRITON_INTERPRET=1 PYTHONPATH=.triton $(PYTEST) $$(grep -rl 'importorskip("triton")' tests)

.triton/installed:
	.venv/bin/python -m pip install --quiet --no-deps --target .triton triton==3.6.0
	touch $@

soak: .venv/installed unlock
	SOAK=$(or $(N),50) $(PYTEST) --timeout 0 -s tests/distributed/test_soak.py

lint: .venv/installed
	ruff check .
	ruff format --check .
	mypy

unlock:
	@find "$(TORCH_EXTENSIONS_DIR)" -name lock -mmin +10 -delete 2>/dev/null || true

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --requirement requirements.txt
	touch $@

clean:
	rm -rf .venv .triton .torch_extensions data runs

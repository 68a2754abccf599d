# make quickstart | make suite | make test | make test-portable | make mutants | make clean. PYTHON may name another
# interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

.PHONY: install quickstart suite suite-aviary suite-others test test-portable mutants lint clean

install: $(INSTALLED)

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: expected Python 3.11 or newer, got $$($(PYTHON) -V); set PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

quickstart: $(INSTALLED)
	$(RUN) -m bench.run --gin_file=gin/quickstart.gin --results_dir=out/quickstart

# The embedded suite: two processes of one thread each, which is faster on two cores than one process of two threads. It is
# resumable: cells that have a record are not run again. The committed records were made by: make suite RESULTS=results.
RESULTS ?= out/suite
SUITE := OMP_NUM_THREADS=1 $(RUN) -m bench.run --results_dir=$(RESULTS)
ANALYSES := transfer alignment ablation spurious embedding neighbors pattern

suite: $(INSTALLED)
	$(MAKE) -j2 suite-aviary suite-others
	for name in $(ANALYSES); do \
	  $(RUN) -m bench.analyze --gin_file=gin/analysis/$$name.gin --results_dir=$(RESULTS) || exit; \
	done
	$(RUN) -m bench.leaderboard --results_dir=$(RESULTS)
	$(RUN) -m bench.claims --results_dir=$(RESULTS)

suite-aviary: $(INSTALLED)
	$(SUITE) --gin_file=gin/suites/aviary.gin
	$(SUITE) --gin_file=gin/suites/convex.gin

suite-others: $(INSTALLED)
	for name in ablation spurious coarse; do $(SUITE) --gin_file=gin/suites/$$name.gin || exit; done

test: lint
	$(RUN) -m pytest

# The numerical tests as on two other x86 processors: one with SSE4 only and one thread, one with AVX2 and two threads. Torch,
# oneDNN, MKL and numpy's OpenBLAS have to be told separately.
test-portable: $(INSTALLED)
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE OPENBLAS_CORETYPE=Nehalem OMP_NUM_THREADS=1 \
	  $(RUN) -m pytest -m numerical
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=AVX2 OPENBLAS_CORETYPE=Haswell OMP_NUM_THREADS=2 \
	  $(RUN) -m pytest -m numerical

# Mistakes in the science, planted one by one in a copy: the tests have to notice each. Not part of `make test`. JOBS copies
# are worked in at once.
JOBS ?= 2
mutants: $(INSTALLED)
	$(RUN) -m tests.mutants --jobs=$(JOBS)

lint: $(INSTALLED)
	$(RUN) -m ruff check .
	$(RUN) -m mypy

clean:
	rm -rf $(VENV) out .cache .mypy_cache build dist *.egg-info

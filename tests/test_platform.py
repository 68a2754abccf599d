"""What the processor decides: the tests compute as the environment asks, and a record says so."""

import os
import platform

import pytest
import torch

from bench.results import provenance

pytestmark = pytest.mark.numerical


@pytest.mark.skipif(platform.machine() not in ('x86_64', 'AMD64'), reason='torch knows these names on x86 alone')
def test_torch_computes_as_the_environment_asks():
    """Otherwise `make test-portable` would compare this processor with itself."""
    capability = torch.backends.cpu.get_cpu_capability()
    assert os.environ.get('ATEN_CPU_CAPABILITY', capability).upper() == capability
    assert torch.get_num_threads() == int(os.environ.get('OMP_NUM_THREADS', min(2, os.cpu_count() or 1)))


def test_a_record_tells_a_processor_that_computes_as_another(monkeypatch):
    monkeypatch.delenv('ATEN_CPU_CAPABILITY', raising=False)
    plain = provenance.collect().cpu
    monkeypatch.setenv('ATEN_CPU_CAPABILITY', 'avx2')
    asked = provenance.collect().cpu
    assert asked != plain and 'ATEN_CPU_CAPABILITY=avx2' in asked

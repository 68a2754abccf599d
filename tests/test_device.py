"""The choice of device: one rule for all commands, and a GPU for each process that torchrun starts."""

import os

import pytest
import torch

from bench.core.errors import InputError
from bench.machine.device import choose_device, device_name
from bench.machine.processes import ALONE, join


@pytest.fixture
def machine(monkeypatch):
    """Pretend that the machine has these devices beside the CPU."""

    def has(*, gpus=0, mps=False):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: mps)

    for name in ('WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    return has


def test_auto_takes_the_fastest_device_that_is_there(machine):
    machine(gpus=2, mps=True)
    assert choose_device() == torch.device('cuda') and choose_device('cpu') == torch.device('cpu')
    machine(mps=True)
    assert choose_device('auto') == torch.device('mps')
    machine()
    assert choose_device('auto') == torch.device('cpu')
    for wanted in ('cuda', 'mps'):
        with pytest.raises(InputError, match=f'--device={wanted}: torch finds no such device here; use --device=auto'):
            choose_device(wanted)


def test_each_process_that_torchrun_starts_has_its_own_gpu(machine, monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, 'set_device', taken.append)
    machine(gpus=2)
    monkeypatch.setenv('WORLD_SIZE', '3')
    monkeypatch.setenv('LOCAL_RANK', '1')
    assert choose_device() == torch.device('cuda', 1) == taken[0]
    assert choose_device('cpu') == torch.device('cpu')
    monkeypatch.setenv('LOCAL_RANK', '2')
    with pytest.raises(InputError, match='more processes than the 2 GPUs'):
        choose_device()


def test_a_gpu_is_called_by_its_model(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device: f'model {device.index}')
    assert [device_name(torch.device(kind)) for kind in ('cuda:1', 'mps', 'cpu')] == ['model 1', 'mps', 'cpu']


def test_a_process_by_itself_is_alone_and_an_incomplete_launcher_is_told(machine, monkeypatch):
    assert join(torch.device('cpu')) is ALONE
    monkeypatch.setenv('WORLD_SIZE', '2')
    if 'RANK' not in os.environ:
        with pytest.raises(InputError, match='WORLD_SIZE is set but RANK is not: start several processes with torchrun'):
            join(torch.device('cpu'))

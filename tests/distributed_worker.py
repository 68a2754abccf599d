"""Started by torchrun: distils the toy data together with the other processes and saves the unrounded results.

Usage: distributed_worker.py CACHE_DIR OUT_FILE [fail]
"""

import sys
from pathlib import Path

import torch
from conftest import methods_where, toy_module

from bench.config import registry
from bench.distillation.task import Task
from bench.features.store import FeatureStore
from bench.machine.processes import join, leave
from methods._synthesis import distil

SETTINGS = {'level_every': 2, 'num_augmentations': 2, 'num_views': 2, 'learning_rate': 0.05}
# 12 updates in which the pyramid grows four times; one update
LONG, SHORT = {'num_updates': 12}, {'num_updates': 1, 'parameterization': 'pixels'}
METHODS = methods_where(lambda needs: not needs.real)


def distilled_images(world, cache_dir, name, precision, **settings):
    """Return x_NCHW (12, 3, 9, 9) of a method that synthesises, before they are rounded to 8 bits."""
    toy, found = toy_module(), []
    backbone = toy.toy_net(None, torch.device('cpu'), precision=precision)
    task = Task(
        train=toy.toy_data(None).train, ipc=2, seed=0, backbone=backbone, store=FeatureStore(Path(cache_dir), world=world),
        world=world,
    )  # fmt: skip
    row, _ = registry.find('method', name)
    rounded = distil.DistilledSet.synthetic
    distil.DistilledSet.synthetic = lambda x_NCHW, labels_N, **parts: found.append(x_NCHW)
    try:
        row.load()(task, **{**row.defaults(), **SETTINGS, **settings})
    finally:
        distil.DistilledSet.synthetic = rounded
    return found[0]


def all_images(world, cache_dir):
    """Return {(method, precision, fresh real views?): x_NCHW}: in float64 after 12 updates, in float32 after one."""
    made = {}
    for name in METHODS:
        made[name, 'float64', False] = distilled_images(world, cache_dir, name, 'float64', **LONG)
        made[name, 'float32', False] = distilled_images(world, cache_dir, name, 'float32', **SHORT)
    made['lgm', 'float64', True] = distilled_images(world, cache_dir, 'lgm', 'float64', **LONG, num_views=None)
    return made


def main():
    cache_dir, out, *fail = sys.argv[1:]
    world = join(torch.device('cpu'))
    if fail and world.rank == 1:
        raise RuntimeError('the second process fails here')
    found = all_images(world, cache_dir)
    if world.leads:
        torch.save(found, out)
    leave()
    # one that is left would abort the process now and then as Python ends; on Linux threads have names
    running = [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]
    assert not [name for name in running if 'gloo' in name], running


if __name__ == '__main__':
    main()

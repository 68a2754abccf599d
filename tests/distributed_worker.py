"""Started by torchrun: distils the toy data together with the other processes and saves the unrounded result.

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

# Besides every method: real images that are encoded anew for each update.
FRESH = 'lgm, fresh views'
SETTINGS = {'num_updates': 20, 'level_every': 2, 'num_augmentations': 2, 'num_views': 2, 'learning_rate': 0.05}


def distilled_images(world, cache_dir):
    """Return {method: x_NCHW} of 20 updates of every method that synthesises and of `FRESH`, not rounded to 8 bits."""
    toy, found = toy_module(), {}
    task = Task(
        train=toy.toy_data(None).train, ipc=2, seed=0, backbone=toy.toy_net(None, torch.device('cpu')),
        store=FeatureStore(Path(cache_dir), world=world), world=world,
    )
    rounded = distil.DistilledSet.synthetic
    for name in [*methods_where(lambda needs: not needs.real), FRESH]:
        row, _ = registry.find('method', name.partition(',')[0])
        settings = {**row.defaults(), **SETTINGS, **({'num_views': None} if name == FRESH else {})}
        distil.DistilledSet.synthetic = lambda x_NCHW, labels_N, name=name, **parts: found.update({name: x_NCHW})
        try:
            row.load()(task, **settings)
        finally:
            distil.DistilledSet.synthetic = rounded
    return found


def main():
    cache_dir, out, *fail = sys.argv[1:]
    world = join(torch.device('cpu'))
    if fail and world.rank == 1:
        raise RuntimeError('the second process fails here')
    found = distilled_images(world, cache_dir)
    if world.leads:
        torch.save(found, out)
    leave()
    # one that is left would abort the process now and then as Python ends; on Linux threads have names
    running = [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]
    assert not [name for name in running if 'gloo' in name], running


if __name__ == '__main__':
    main()

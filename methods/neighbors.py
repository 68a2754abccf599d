"""The real images nearest to the distilled images of another method."""

import numpy as np

from bench.core.errors import InputError
from bench.distillation.distilled_set import DistilledSet
from bench.distillation.task import Task, method
from bench.features.similarity import nearest_in_class

TUNED = 'nothing of its own'


@method(seed=False, of=lambda settings: settings['of'], real=True)
def neighbors(task: Task, *, of: str = 'lgm') -> DistilledSet:
    """Replace each distilled image by the training image of the same class with the highest cosine to it.

    A real-image baseline of arXiv 2511.16674. No image is used twice: if two distilled images have the same nearest image,
    the later one takes its next nearest.

    Args:
      task: its `source_set` is the distilled set of `of`, made with the same backbone, ipc and seed.
      of: the method whose distilled images are replaced, written as in run.methods. It must make synthetic images.

    Raises:
      InputError: if `of` selects real images, or a class has fewer training images than distilled ones.
    """
    wanted = task.source_set
    if wanted is None or wanted.kind == 'real':
        raise InputError(f'neighbors.of = {of!r}: expected a method that makes synthetic images, got one of real images')
    most = int(np.bincount(wanted.labels_N).max())
    f_ND = task.features_of(wanted.split(task.train))
    ranked = nearest_in_class(f_ND, wanted.labels_N, task.features(), task.train.labels_N, count=most)
    chosen: dict[int, float] = {}
    for label, (rows_K, cosine_K) in zip(wanted.labels_N, ranked, strict=True):
        rank = next((k for k, row in enumerate(rows_K.tolist()) if row not in chosen), None)
        if rank is None:
            raise InputError(
                f'neighbors of {of}: class {task.train.class_names[label]!r} has only {len(rows_K)} training images, '
                'fewer than distilled images; choose a smaller ipc'
            )
        chosen[int(rows_K[rank])] = float(cosine_K[rank])
    facts = {'of': of.partition('=')[0], 'of_hash': wanted.hash, 'mean_cosine': float(np.mean(list(chosen.values())))}
    return DistilledSet(wanted.labels_N, indices_N=np.array(list(chosen)), facts=facts)

"""Which pictures lie beside a distilled set, and what its images look like to its source backbone."""

from pathlib import Path

import numpy as np

from bench.distillation.distilled_set import DistilledSet
from bench.distillation.pictures import MAX_IMAGES, Timelapse, contact_sheet, neighbor_rows
from bench.distillation.task import Task
from bench.features.similarity import diversity, nearest_in_class

_NEIGHBORS, _MAX_ROWS = 3, 100
# beyond, a second pass of all images would cost as much as the choice of them
_MAX_COMPARED = 20_000


def draw(distilled: DistilledSet, folder: Path, *, task: Task, film: Timelapse | None = None) -> dict[str, Path]:
    """Draw the pictures of a set into its folder, each one once: what is there stays as it is.

    A large synthetic set shows its first images, a large real one has no pictures.

    Args:
      distilled: the set.
      folder: where it lies.
      task: what it was made from.
      film: the images on their way, where the set has just been made.

    Returns:
      The paths of the pictures that are there, by what they show.
    """
    if len(distilled) > MAX_IMAGES and distilled.kind == 'real':
        return {}
    sheet, timelapse, neighbors = (folder / name for name in ('contact_sheet.png', 'timelapse.gif', 'neighbors.png'))
    if not sheet.exists():
        images = distilled.split(task.train).images
        names = [task.train.class_names[label] for label in distilled.labels_N[:MAX_IMAGES]]
        contact_sheet([images[i] for i in range(len(names))], names, sheet)
    if distilled.kind == 'synthetic':
        if film is not None:
            film.write(timelapse, total=len(distilled))
        if task.backbone is not None and not neighbors.exists():
            _draw_neighbors(distilled, neighbors, task=task)
    drawn = {'pictures': sheet, 'time-lapse': timelapse, 'nearest photographs': neighbors}
    return {title: path for title, path in drawn.items() if path.exists()}


def diversity_of(distilled: DistilledSet, *, task: Task) -> float | None:
    """Return `diversity` of a set to its source backbone (test view); None without one, at ipc 1 or for a huge set."""
    if task.backbone is None or len(distilled) > _MAX_COMPARED or np.bincount(distilled.labels_N).max() < 2:
        return None
    return diversity(_features(distilled, task), distilled.labels_N)


def _features(distilled: DistilledSet, task: Task) -> np.ndarray:
    if distilled.indices_N is not None:
        return task.features()[distilled.indices_N]
    return task.features_of(distilled.split(task.train))


def _draw_neighbors(distilled: DistilledSet, path: Path, *, task: Task) -> None:
    """Draw the first images of a set, each beside the training images of its class with the highest cosine."""
    labels_N = distilled.labels_N[:_MAX_ROWS]
    f_ND = _features(distilled, task)[:_MAX_ROWS]
    nearest = nearest_in_class(f_ND, labels_N, task.features(), task.train.labels_N, count=_NEIGHBORS)
    images, rows = distilled.split(task.train).images, []
    for i, (chosen_K, cosine_K) in enumerate(nearest):
        pictures = [images[i], *(task.train.images[int(index)] for index in chosen_K)]
        rows.append((pictures, [task.train.class_names[labels_N[i]], *(f'{cosine:.2f}' for cosine in cosine_K)]))
    title = f'Distilled (framed), its nearest training images and their cosines in {task.encoder.name}'
    if len(distilled) > _MAX_ROWS:
        title += f'; first {_MAX_ROWS} of {len(distilled)} images'
    neighbor_rows(rows, title, path)

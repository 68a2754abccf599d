"""The pictures stored beside a distilled set, and its diversity to the source backbone."""

from pathlib import Path

import numpy as np

from bench.distillation.distilled_set import DistilledSet
from bench.distillation.pictures import MAX_IMAGES, Timelapse, contact_sheet, neighbor_rows
from bench.distillation.task import Task
from bench.features.similarity import diversity, nearest_in_class

_NEIGHBORS, _MAX_ROWS = 3, 100
# for larger sets, encoding all images again would cost as much as their selection
_MAX_COMPARED = 20_000


def draw(distilled: DistilledSet, folder: Path, *, task: Task, film: Timelapse | None = None) -> dict[str, Path]:
    """Write the pictures of a distilled set into its folder.

    For a large set of synthetic images they show the first images; for a large set of real images there are none. Existing
    pictures are kept; only a new film replaces an existing one.

    Args:
      distilled: the set.
      folder: the set's folder.
      task: the task that the set was made for.
      film: the frames of the distillation, if the set has just been made.

    Returns:
      A mapping from the title of each picture to its path.
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
    """Return the set's `diversity` to its source backbone (test view); None without a backbone, at ipc 1 or if too large."""
    if task.backbone is None or len(distilled) > _MAX_COMPARED or np.bincount(distilled.labels_N).max() < 2:
        return None
    return diversity(_features(distilled, task), distilled.labels_N)


def _features(distilled: DistilledSet, task: Task) -> np.ndarray:
    if distilled.indices_N is not None:
        return task.features()[distilled.indices_N]
    return task.features_of(distilled.split(task.train))


def _draw_neighbors(distilled: DistilledSet, path: Path, *, task: Task) -> None:
    """Draw the first images of a set, each next to the training images of its class with the highest cosine."""
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

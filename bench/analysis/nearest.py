"""Neighbours: distilled images next to their nearest real images in each encoder (arXiv 2511.16674, section 4.4).

Shape suffixes: N images, C classes, D feature width.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.evidence import Evidence, check_backbones
from bench.analysis.report import Report
from bench.core.ranges import Count, PositiveInt
from bench.features.similarity import unit


def nearest(
    evidence: Evidence,
    *,
    dataset: str = 'plumage',
    backbones: Sequence[str] = (),
    method: str = 'lgm',
    ipc: PositiveInt = 1,
    seed: Count = 0,
    classes: PositiveInt = 8,
    protocol: str = 'paper-v1',
) -> Report:
    """Return, per encoder, the first distilled image of each class and the training image with the highest cosine to it.

    Args:
      evidence: gives records, distilled sets and features.
      dataset: label of a data set.
      backbones: labels.
      method: label of a method that makes images.
      ipc: images per class.
      seed: method seed.
      classes: number of classes in the plot; the table covers all classes.
      protocol: label of the protocol of the records that identify the sets.

    Raises:
      Missing: if a record or a distilled set is missing.
    """
    check_backbones(backbones, least=1, analysis='nearest')
    sets = evidence.distilled_sets(dataset, method, backbones, ipc=ipc, seed=seed, protocol=protocol)
    data = evidence.dataset(dataset)
    train = data.train
    rows, pictures, chosen = [], {}, {}
    for name, distilled in sets.items():
        backbone = evidence.backbone(name, data)
        first_C = [int(np.flatnonzero(distilled.labels_N == label)[0]) for label in range(train.num_classes)]
        f_CD = unit(evidence.features(distilled.split(train), backbone)[first_C])
        cosine_CN = f_CD @ unit(evidence.features(train, backbone)).T
        own_CN = np.where(train.labels_N == np.arange(train.num_classes)[:, None], cosine_CN, -np.inf)
        chosen[name] = own_CN.argmax(axis=1)
        images = distilled.split(train).images
        pictures[name] = [
            (images[first_C[label]], train.images[int(chosen[name][label])], float(own_CN[label].max()))
            for label in range(min(classes, train.num_classes))
        ]
        nearest_of_all = train.labels_N[cosine_CN.argmax(axis=1)]
        rows.append({
            'backbone': name, 'mean_cosine_to_nearest_of_class': float(own_CN.max(axis=1).mean()),
            'percent_nearest_of_all_is_of_class': float(100 * (nearest_of_all == np.arange(train.num_classes)).mean()),
        })  # fmt: skip
    agreement = [
        {'backbone': a, 'other': b, 'percent_same_image': float(100 * (chosen[a] == chosen[b]).mean())}
        for a, b in combinations(chosen, 2)
    ]
    text = (
        f'For each encoder: the images that {method} made through it for {dataset} (upper rows) and, below each image, the '
        'training image of the same class with the highest cosine similarity in that encoder. The table shows the mean '
        'similarity, and how often the nearest of all training images has the right class.'
    )
    tables = {'Encoders': pd.DataFrame(rows), 'Same choice': pd.DataFrame(agreement)}
    formats = {'mean_cosine_to_nearest_of_class': '.3f'}
    return Report(f'Neighbours of distilled images on {dataset}', text, tables, _figure(pictures, train), formats, dpi=65)


def _figure(pictures: dict[str, list[tuple[Any, Any, float]]], train: Any) -> Any:
    from matplotlib.figure import Figure

    columns = max(map(len, pictures.values()))
    figure = Figure(figsize=(1.25 * columns + 0.6, 2.75 * len(pictures)), layout='constrained')
    axes = figure.subplots(2 * len(pictures), columns, squeeze=False)
    for row, (name, found) in enumerate(pictures.items()):
        for column, (made, real, cosine) in enumerate(found):
            upper, lower = axes[2 * row, column], axes[2 * row + 1, column]
            upper.imshow(np.asarray(made), interpolation='none')  # keeps the original pixels in the SVG
            lower.imshow(np.asarray(real), interpolation='none')
            lower.set_xlabel(f'{cosine:.2f}', fontsize=7)
            if not row:
                upper.set_title(train.class_names[column], fontsize=7)
        axes[2 * row, 0].set_ylabel(f'{name}\ndistilled', fontsize=8)
        axes[2 * row + 1, 0].set_ylabel('nearest', fontsize=8)
    for axis in axes.ravel():
        axis.set_xticks([])
        axis.set_yticks([])
    return figure

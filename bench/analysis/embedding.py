"""Embedding: where do distilled images lie among the real images of their class? (arXiv 2511.16674, section 4.4)

Shape suffixes: N images, D feature width, P principal components.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.evidence import Evidence, check_backbones
from bench.analysis.report import Report
from bench.core.ranges import Count, PositiveInt
from bench.distillation.distilled_set import DistilledSet

_SHOWN_CLASSES = 6
_COLOURS = ('#4878a8', '#c8772c', '#4a9a5b', '#b0434a', '#7a62a8', '#7a5a4c')


def embedding(
    evidence: Evidence,
    *,
    dataset: str = 'plumage',
    backbones: Sequence[str] = (),
    method: str = 'lgm',
    ipc: PositiveInt = 1,
    seed: Count = 0,
    protocol: str = 'paper-v1',
) -> Report:
    """Return the distances of distilled images from their class mean, as percentiles of the real images of the class.

    Args:
      evidence: gives records, distilled sets and features.
      dataset: label of a data set.
      backbones: labels.
      method: label of a method that makes images.
      ipc: images per class.
      seed: method seed.
      protocol: label of the protocol of the records that identify the sets.

    Raises:
      Missing: if a record or a distilled set is missing.
    """
    check_backbones(backbones, least=1, analysis='embedding')
    sets = evidence.distilled_sets(dataset, method, backbones, ipc=ipc, seed=seed, protocol=protocol)
    data = evidence.dataset(dataset)
    train = data.train
    found, drawn = [], {}
    for name, distilled in sets.items():
        backbone = evidence.backbone(name, data)
        f_ND = np.asarray(evidence.features(train, backbone), np.float64)
        f_MD = np.asarray(evidence.features(distilled.split(train), backbone), np.float64)
        drawn[name] = (f_ND, f_MD, distilled)
        for label in range(train.num_classes):
            members_ND, made_KD = f_ND[train.labels_N == label], f_MD[distilled.labels_N == label]
            found += [
                {'backbone': name, 'class': train.class_names[label], **position, 'set': distilled.hash}
                for position in positions(members_ND, made_KD)
            ]
    images = pd.DataFrame(found)
    summary = pd.DataFrame([_summary(str(name), part) for name, part in images.groupby('backbone', sort=False)])
    text = (
        f'Images of {method} ({ipc} per class, seed {seed}) among the training images of {dataset}; features of the test '
        'view. Percentile: the share of the real images of a class that are nearer to the class mean (each real image is '
        'left out of the mean that it is compared with); 100 means farther than all of them. `times median` is the distance '
        'divided by the median distance of the real images. `set` is the hash of the distilled set, as in its record. The '
        f'figure shows the first {_SHOWN_CLASSES} classes in the plane of their two largest principal components.'
    )
    return Report(
        f'Distilled images among real ones on {dataset}', text, {'Backbones': summary, 'Images': images},
        _figure(drawn, train), {'times_median': '.2f'},
    )


def positions(members_ND: np.ndarray, made_KD: np.ndarray) -> list[dict[str, float]]:
    """Return, for each made image, its distance from the class mean as a percentile and relative to the median.

    Args:
      members_ND: features of the real images of a class; their distances give the percentiles and the median.
      made_KD: features of K made images.
    """
    count, mean_D = len(members_ND), members_ND.mean(axis=0)
    # leaving a member out of the mean increases its distance by n / (n - 1)
    real_N = np.linalg.norm(members_ND - mean_D, axis=1) * count / max(count - 1, 1)
    made_K = np.linalg.norm(made_KD - mean_D, axis=1)
    return [
        {'percentile': float(100 * (real_N < distance).mean()), 'times_median': float(distance / np.median(real_N))}
        for distance in made_K
    ]


def _summary(name: str, part: Any) -> dict[str, Any]:
    return {
        'backbone': name, 'images': len(part), 'median_percentile': float(part.percentile.median()),
        'beyond_95th_percent': float(100 * (part.percentile > 95).mean()),
        'beyond_all_percent': float(100 * (part.percentile >= 100).mean()),
        'times_median': float(part.times_median.median()),
    }  # fmt: skip


def _figure(drawn: dict[str, tuple[np.ndarray, np.ndarray, DistilledSet]], train: Any) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(drawn), 3.6), layout='constrained')
    axes = figure.subplots(1, len(drawn), squeeze=False)[0]
    for axis, (name, (f_ND, f_MD, distilled)) in zip(axes, drawn.items(), strict=True):
        shown = range(min(_SHOWN_CLASSES, train.num_classes))
        some = np.isin(train.labels_N, list(shown))
        mean_D = f_ND[some].mean(axis=0)
        _, _, axes_PD = np.linalg.svd(f_ND[some] - mean_D, full_matrices=False)
        for label, colour in zip(shown, _COLOURS, strict=False):
            real_N2 = (f_ND[train.labels_N == label] - mean_D) @ axes_PD[:2].T
            made_K2 = (f_MD[distilled.labels_N == label] - mean_D) @ axes_PD[:2].T
            axis.scatter(*real_N2.T, s=7, color=colour, alpha=0.5, linewidths=0, rasterized=True)
            axis.scatter(*made_K2.T, s=130, marker='*', color=colour, edgecolors='black', linewidths=0.7,
                         label=train.class_names[label])  # fmt: skip
        axis.set_title(name, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    handles, labels = figure.axes[0].get_legend_handles_labels()
    title = 'stars: distilled images'
    figure.legend(handles, labels, loc='outside lower center', ncols=len(labels), fontsize=8, title=title)
    return figure

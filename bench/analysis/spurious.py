"""Spurious backgrounds: do encoders rely on them, and do distilled images contain them? (arXiv 2511.16674, section 4.5)

Shape suffixes: N test images, S method seeds.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.evidence import OTHERS, Evidence, cell_name, check_backbones, with_others
from bench.analysis.report import Report
from bench.core.errors import InputError
from bench.core.ranges import PositiveInt
from bench.results.statistics import Scores, worst_group


def spurious(
    evidence: Evidence,
    *,
    dataset: str = 'plumage_spurious',
    backbones: Sequence[str] = (),
    methods: Sequence[str] = ('full', OTHERS),
    ipc: PositiveInt = 1,
    protocol: str = 'paper-v1',
    background_protocol: str = 'ridge-v1',
) -> Report:
    """Return group metrics of full, distilled and real sets, and how well their images predict the background.

    Args:
      evidence: gives records, distilled sets and features.
      dataset: label of a data set with groups and home backgrounds of its classes (`Dataset.groups`, `homes`).
      backbones: labels.
      methods: labels. '*' means all other methods with records for every backbone, without variants (`label=name`).
      ipc: images per class.
      protocol: label of the protocol of the records.
      background_protocol: label of the protocol for the probe that predicts the background.

    Raises:
      Missing: if a record or the images of a method are missing.
      InputError: if the classes of the data set have no homes.
    """
    check_backbones(backbones, least=1, analysis='spurious')
    where = {'dataset': dataset, 'protocol': protocol}
    methods = with_others(methods, (
        name for name in evidence.named_methods(**where, ipc=ipc)
        if all(len(_own(evidence, name, backbone, ipc=ipc, **where)) for backbone in backbones)
    ))
    rows = {(m, b): _own(evidence, m, b, ipc=ipc, **where) for m in methods for b in backbones}
    evidence.require(
        cell_name(dataset, m, evidence.source_of(m, b), b, evidence.ipc_of(m, ipc))
        for (m, b), found in rows.items() if not len(found)
    )
    data = evidence.dataset(dataset)
    if not data.homes:
        raise InputError(f'spurious.dataset: expected a data set with home backgrounds, such as waterbirds, got {dataset!r}')
    at_home_N = data.backgrounds_of(data.test.groups_N) == data.homes_of(data.test.labels_N)
    table = pd.DataFrame([
        _row(evidence, data, method, backbone, found, at_home_N, background_protocol)
        for (method, backbone), found in rows.items()
    ])
    groups = pd.DataFrame([row for found in rows.values() for row in _groups(evidence, found)])
    gaps = table.pivot(index='backbone', columns='method', values='gap')
    encoders = gaps.loc[list(backbones), list(methods)].reset_index()
    return Report(
        f'Spurious backgrounds: {dataset}', _meaning(data, at_home_N, background_protocol),
        {'Methods': table, 'Gap by encoder': encoders, 'Groups': groups},
        _figure(table, backbones, methods),
    )


def _meaning(data: Any, at_home_N: np.ndarray, protocol: str) -> str:
    """Return the text that explains the tables."""
    homes = sorted(set(data.homes), key=data.backgrounds.index)
    return (
        f'{data.name}: each class has a home background ({", ".join(homes)}). Most of its training images show this '
        f'background, and {100 * at_home_N.mean():.0f} % of the test images do. Accuracies are in percent, means over '
        'method seeds. `gap` is the accuracy at home minus the accuracy away: 0 for a probe that uses only the objects, '
        'empty if no test image is at home. `adjusted` weights groups by their training size. `tells background` is the '
        f'accuracy of a probe ({protocol}) that predicts the background. It is trained on the same images, each labelled '
        f'with the home of its class ({100 / len(homes):.0f} is chance): high means that these images show their home '
        'backgrounds.'
    )


def _own(evidence: Evidence, method: str, backbone: str, *, ipc: int, **where: Any) -> Any:
    """Return the same-model records of a method on a backbone, one per seed."""
    source, size = evidence.source_of(method, backbone), evidence.ipc_of(method, ipc)
    return evidence.seeds(method=method, source_backbone=source, eval_backbone=backbone, ipc=size, **where)


def _row(
    evidence: Evidence, data: Any, method: str, backbone: str, found: Any, at_home_N: np.ndarray, protocol: str
) -> dict[str, Any]:
    scores = evidence.scores_of_rows(found)
    home, away = (_accuracy_of(scores, mask) for mask in (at_home_N, ~at_home_N))
    told = [_tells_background(evidence, data, evidence.distilled(row), backbone, protocol) for _, row in found.iterrows()]
    return {
        'method': method, 'backbone': backbone, 'accuracy': 100 * scores.accuracy().mean, 'at_home': 100 * home,
        'away': 100 * away, 'gap': 100 * (home - away), 'worst_group': 100 * worst_group(list(found.groups)),
        'adjusted': 100 * float(pd.to_numeric(found.group_adjusted).mean()),
        'tells_background': 100 * float(np.mean(told)), 'seeds': len(found),
    }  # fmt: skip


def _accuracy_of(scores: Scores, some_N: np.ndarray) -> float:
    """Return the mean accuracy on a subset of the test images, NaN for an empty subset."""
    return float(scores.correct_SN[:, some_N].mean()) if some_N.any() else float('nan')


def _tells_background(evidence: Evidence, data: Any, distilled: Any, backbone: str, protocol: str) -> float:
    """Return the accuracy in predicting the background of a probe trained on images labelled with their home backgrounds."""
    targets_NC = np.eye(len(data.backgrounds), dtype=np.float32)[data.homes_of(distilled.labels_N)]
    test = replace(data.test, labels_N=data.backgrounds_of(data.test.groups_N), class_names=data.backgrounds)
    score = evidence.probe(
        protocol, train=distilled.split(data.train), targets_NC=targets_NC, is_full=False, test=test,
        backbone=evidence.backbone(backbone, data),
    )
    return float(score.correct_RN.mean())


def _groups(evidence: Evidence, found: Any) -> list[dict[str, Any]]:
    """Return one row per group with test images, mean over the seeds."""
    records = [evidence.record(path) for path in found.path]
    per_seed = [record.per_group.groups for record in records if record.per_group]
    first = found.iloc[0]
    return [
        {
            'method': first.method, 'backbone': first.eval_backbone, 'group': groups[0].name, 'n_test': groups[0].n,
            'n_train': groups[0].n_train, 'accuracy': 100 * float(np.mean([group.accuracy for group in groups])),
        }
        for groups in zip(*per_seed, strict=True) if groups[0].n
    ]  # fmt: skip


def _figure(table: Any, backbones: Sequence[str], methods: Sequence[str]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.6 * len(backbones) + 1, 3.4), layout='constrained')
    axes = figure.subplots(1, len(backbones), sharey=True, squeeze=False)[0]
    x, width = np.arange(len(methods)), 0.27
    shown = {'at_home': '#4878a8', 'away': '#c8772c', 'worst_group': '#b0434a'}
    for axis, backbone in zip(axes, backbones, strict=True):
        part = table[table.backbone == backbone].set_index('method').loc[list(methods)]
        for number, (column, colour) in enumerate(shown.items()):
            axis.bar(x + (number - 1) * width, part[column], width, color=colour, label=column.replace('_', ' '))
        axis.set_xticks(x, methods, rotation=60, ha='right', fontsize=8)
        axis.set_title(backbone, fontsize=10)
    axes[0].set_ylabel('test accuracy, %')
    axes[0].legend(fontsize=7)
    return figure

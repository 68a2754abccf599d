"""Spurious backgrounds: which encoder looks at them, and do distilled images carry them? (2511.16674, section 4.5)

Shape suffixes: N test images, S method seeds.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.bootstrap import Scores
from bench.analysis.evidence import Evidence, cell_name, check_backbones, ipc_of, source_of
from bench.analysis.report import Report
from bench.analysis.transfer import REAL
from bench.core.ranges import PositiveInt
from bench.datasets.plumage.spurious import BACKGROUND_NAMES, HOME_OF_CLASS, background_of, class_of

METHODS = ('full', 'lgm', 'lgm_plus', *REAL)


def spurious(
    evidence: Evidence,
    *,
    dataset: str = 'plumage_spurious',
    backbones: Sequence[str] = (),
    methods: Sequence[str] = METHODS,
    ipc: PositiveInt = 1,
    protocol: str = 'paper-v1',
    background_protocol: str = 'ridge-v1',
) -> Report:
    """Return group metrics of full, distilled and real sets, and what their images say about the background.

    Args:
      evidence: records, distilled sets and features.
      dataset: one made by `bench.datasets.plumage.spurious`, whose classes have homes.
      backbones: labels.
      methods: labels.
      ipc: images per class.
      protocol: of the records.
      background_protocol: by which the background's probe is trained on the distilled images.

    Raises:
      Missing: if a record or the images of a method are missing.
    """
    check_backbones(backbones, least=1, analysis='spurious')
    rows, missing = {}, []
    for method in methods:
        for backbone in backbones:
            source = source_of(method, backbone)
            found = evidence.seeds(
                dataset=dataset, method=method, source_backbone=source, eval_backbone=backbone, protocol=protocol,
                ipc=ipc_of(method, ipc),
            )  # fmt: skip
            if len(found):
                rows[method, backbone] = found
            else:
                missing.append(cell_name(dataset, method, source, backbone, ipc_of(method, ipc)))
    evidence.require(missing)
    data = evidence.dataset(dataset)
    at_home_N = background_of(data.test.groups_N) == np.array(HOME_OF_CLASS)[class_of(data.test.groups_N)]
    table = pd.DataFrame([
        _row(evidence, data, method, backbone, found, at_home_N, background_protocol)
        for (method, backbone), found in rows.items()
    ])
    groups = pd.DataFrame([row for found in rows.values() for row in _groups(evidence, found)])
    gaps = table.pivot(index='backbone', columns='method', values='gap')
    encoders = gaps.loc[list(backbones), list(methods)].reset_index()
    text = (
        f'{dataset}: every class is at home on one of {" and ".join(BACKGROUND_NAMES)}; that is where most of its training '
        'images are, and half of its test images. Percent of test images; mean over method seeds. `gap` is the accuracy at '
        'home minus the accuracy away: 0 for a probe that looks at birds alone. `adjusted` weighs groups by their training '
        f'size. `tells background` is the accuracy of a probe ({background_protocol}) for the background that was trained '
        'on the same images, each labelled with the home of its class (50 is chance): high means that these images show '
        'their homes.'
    )
    return Report(
        f'Spurious backgrounds: {dataset}', text, {'Methods': table, 'Gap by encoder': encoders, 'Groups': groups},
        _figure(table, backbones, methods),
    )


def _row(
    evidence: Evidence, data: Any, method: str, backbone: str, found: Any, at_home_N: np.ndarray, protocol: str
) -> dict[str, Any]:
    scores = evidence.scores_of_rows(found)
    home, away = (Scores(scores.correct_SN[:, mask], scores.name).accuracy() for mask in (at_home_N, ~at_home_N))
    told = [_tells_background(evidence, data, evidence.distilled(row), backbone, protocol) for _, row in found.iterrows()]
    return {
        'method': method, 'backbone': backbone, 'accuracy': 100 * scores.accuracy().mean, 'at_home': 100 * home.mean,
        'away': 100 * away.mean, 'gap': 100 * (home.mean - away.mean), 'worst_group': 100 * float(found.worst_group.mean()),
        'adjusted': 100 * float(found.group_adjusted.mean()), 'tells_background': 100 * float(np.mean(told)),
        'seeds': len(found),
    }  # fmt: skip


def _tells_background(evidence: Evidence, data: Any, distilled: Any, backbone: str, protocol: str) -> float:
    """Return the test accuracy, for the background, of a probe trained on images that are labelled with their homes."""
    from bench.probes.task import ProbeTask

    homes_N = np.array(HOME_OF_CLASS)[distilled.labels_N]
    test = replace(data.test, labels_N=background_of(data.test.groups_N), class_names=BACKGROUND_NAMES)
    rules = evidence.choose('protocol', protocol)
    targets_NC = np.eye(len(BACKGROUND_NAMES), dtype=np.float32)[homes_N]
    task = ProbeTask(
        train=distilled.split(data.train), targets_NC=targets_NC, is_full=False,
        test=test, backbone=evidence.backbone(backbone), store=evidence.bench.store,
    )
    return float(rules.row.load()(task, **rules.settings).correct_RN.mean())


def _groups(evidence: Evidence, found: Any) -> list[dict[str, Any]]:
    """Return one row for each group, mean over the seeds."""
    per_seed = [evidence.record(path).per_group.groups for path in found.path]
    first = found.iloc[0]
    return [
        {
            'method': first.method, 'backbone': first.eval_backbone, 'group': groups[0].name, 'n_test': groups[0].n,
            'n_train': groups[0].n_train, 'accuracy': 100 * float(np.mean([group.accuracy for group in groups])),
        }
        for groups in zip(*per_seed, strict=True)
    ]  # fmt: skip


def _figure(table: Any, backbones: Sequence[str], methods: Sequence[str]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.6 * len(backbones) + 1, 3.4), layout='constrained')
    axes = figure.subplots(1, len(backbones), sharey=True, squeeze=False)[0]
    place, width = np.arange(len(methods)), 0.27
    shown = {'at_home': '#4878a8', 'away': '#c8772c', 'worst_group': '#b0434a'}
    for axis, backbone in zip(axes, backbones, strict=True):
        part = table[table.backbone == backbone].set_index('method').loc[list(methods)]
        for number, (column, colour) in enumerate(shown.items()):
            axis.bar(place + (number - 1) * width, part[column], width, color=colour, label=column.replace('_', ' '))
        axis.set_xticks(place, methods, rotation=60, ha='right', fontsize=8)
        axis.set_title(backbone, fontsize=10)
    axes[0].set_ylabel('test accuracy, %')
    axes[0].legend(fontsize=7)
    return figure

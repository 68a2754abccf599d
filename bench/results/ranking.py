"""Compares the rows of the leaderboard: ranks within a column, recovered gaps, and the standing of a method over columns.

A column holds the rows of one data set, eval backbone and protocol. Its *home* rows, whose images were made through that
backbone or through none, are ranked at each number of images per class.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.results.gate import STRESS_TEST
from bench.results.record import ANY_SOURCE
from bench.results.statistics import Estimate, mean_over_tasks, rank_intervals, recovered_gap

Row = dict[str, Any]
LEAST_TASKS = 13  # Friedman's test and Nemenyi's distances need about as many


@dataclass(frozen=True)
class Standing:
    """How a method stands over the columns of a table (`tables`), at one number of images per class.

    `wins` and `losses` count rivals in columns that it beats, or that beat it, significantly. `rank` is the mean over its
    `columns` of its rank by accuracy. `recovered` is its mean recovered gap over the columns that have one, as a statement
    about all columns that these could be drawn from; None if there are fewer than two.
    """

    method: str
    ipc: int
    columns: int
    wins: int
    losses: int
    rank: float
    recovered: Estimate | None
    gaps: int


def at_home(row: Row) -> bool:
    """Return whether a row's images were made through its eval backbone, or through none."""
    return row['source_backbone'] in (row['eval_backbone'], ANY_SOURCE)


def compare(rows: Sequence[Row], estimates: Sequence[Estimate | None], table: Sequence[str]) -> dict[Any, list[Standing]]:
    """Add ranks and recovered gaps to rows, and return the standings of each table, best mean rank first.

    Stress tests of the gate have ranks, but are no part of the standings.

    Args:
      rows: leaderboard rows, changed in place.
      estimates: the accuracy of each row, None if it has none.
      table: the columns in which the rows of a table agree.
    """
    columns: dict[Any, list[tuple[Row, Estimate]]] = defaultdict(list)
    for row, estimate in zip(rows, estimates, strict=True):
        if estimate is not None:
            columns[tuple(row[name] for name in table), row['eval_backbone']].append((row, estimate))
    found: dict[Any, dict[tuple[str, int], list[_Place]]] = defaultdict(lambda: defaultdict(list))
    for (where, _), column in columns.items():
        for place in _ranked(column):
            if place.row['gate'] != STRESS_TEST:
                found[where][_label(place.row), place.row['ipc']].append(place)
    return {
        where: sorted((_standing(*name, some) for name, some in methods.items()), key=lambda s: (s.ipc, s.rank, s.method))
        for where, methods in found.items()
    }


def _label(row: Row) -> str:
    return row['method'] + (f' ({row["settings"]})' if row['settings'] else '')


@dataclass(frozen=True)
class _Place:
    """A ranked row among the `n` ranked rows of its column and ipc: its rank by accuracy, and its recovered gap."""

    row: Row
    n: int
    rank: float
    gap: Estimate | None


def _ranked(column: list[tuple[Row, Estimate]]) -> list[_Place]:
    """Add ranks and gaps to the rows of a column, and return the places of the ranked ones."""
    full = [estimate for row, estimate in column if row['ipc'] is None and at_home(row)]
    found = []
    for ipc in sorted({row['ipc'] for row, _ in column} - {None}):
        some = [(row, estimate) for row, estimate in column if row['ipc'] == ipc]
        random = [estimate for row, estimate in some if row['method'] == 'random']
        gaps: list[Estimate | None] = [None] * len(some)
        if len(full) == len(random) == 1:
            gaps = [recovered_gap(estimate, random=random[0], full=full[0]) for _, estimate in some]
        for (row, _), gap in zip(some, gaps, strict=True):
            if gap is not None:
                row.update(recovered=100 * gap.mean, recovered_low=100 * gap.low, recovered_high=100 * gap.high)
        home = {str(i): estimate for i, (row, estimate) in enumerate(some) if at_home(row) and not estimate.one_set}
        if len(home) < 2:
            continue
        means = np.array([estimate.mean for estimate in home.values()])
        for i, (low, high) in rank_intervals(home).items():
            row, estimate = some[int(i)]
            row.update(rank_low=low, rank_high=high)
            # equal accuracies share their mean rank
            place = 1 + (means > estimate.mean).sum() + ((means == estimate.mean).sum() - 1) / 2
            found.append(_Place(row, len(home), float(place), gaps[int(i)]))
    return found


def _standing(method: str, ipc: int, places: list[_Place]) -> Standing:
    gaps = [place.gap for place in places if place.gap is not None]
    return Standing(
        method, ipc, columns=len(places),
        wins=sum(place.n - place.row['rank_high'] for place in places),
        losses=sum(place.row['rank_low'] - 1 for place in places),
        rank=float(np.mean([place.rank for place in places])),
        recovered=mean_over_tasks(gaps) if len(gaps) > 1 else None, gaps=len(gaps),
    )  # fmt: skip


# --- over all data sets ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Overall:
    """Friedman's test over tasks (data set x eval backbone), the mean rank of each method, and which methods differ.

    `differs` holds (a, b) with Nemenyi's p below 5 %, a ahead of b. Without enough tasks only `tasks` is known.
    """

    tasks: int
    p: float | None = None
    ranks: dict[str, float] | None = None
    differs: tuple[tuple[str, str], ...] = ()


def overall(rows: Sequence[Row]) -> Overall:
    """Return Friedman's test over the tasks of rows of one protocol and ipc.

    Stress tests of the gate are left out. The methods are those that have a rank in `LEAST_TASKS` tasks; tasks that lack one
    of them are left out. Tasks of one data set share their test images, so they are not independent, and the p-values are
    somewhat too small.
    """
    tasks: dict[Any, dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row['rank_low'] is not None and row['gate'] != STRESS_TEST:
            tasks[row['dataset'], row['eval_backbone']][_label(row)] = row['top1_mean']
    names = {name for accuracies in tasks.values() for name in accuracies}
    common = sorted(name for name in names if sum(name in accuracies for accuracies in tasks.values()) >= LEAST_TASKS)
    whole = [[accuracies[name] for name in common] for accuracies in tasks.values() if set(common) <= set(accuracies)]
    if len(whole) < LEAST_TASKS or len(common) < 3:
        return Overall(len(tasks))
    # imported here because the imports take a second
    from scikit_posthocs import posthoc_nemenyi_friedman
    from scipy.stats import friedmanchisquare, rankdata

    accuracy_TM = np.array(whole)
    ranks_M = np.apply_along_axis(rankdata, 1, -accuracy_TM).mean(axis=0)
    p_MM = posthoc_nemenyi_friedman(accuracy_TM).to_numpy()
    ahead = [
        (a, b) for i, a in enumerate(common) for j, b in enumerate(common) if p_MM[i, j] < 0.05 and ranks_M[i] < ranks_M[j]
    ]
    p = float(friedmanchisquare(*accuracy_TM.T).pvalue)
    return Overall(len(whole), p, dict(zip(common, map(float, ranks_M), strict=True)), tuple(ahead))

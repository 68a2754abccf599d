"""Is one method better than another? Do our results reproduce the published ones?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.errors import InputError
from bench.core.tables import aligned
from bench.results import published, summary
from bench.results.intervals import welch_half_width
from bench.results.record import ANY_SOURCE

_WHERE = ['dataset', 'eval_backbone', 'ipc', 'protocol', 'protocol_hash', 'labels']
# Flag -> the column that it filters.
NARROWS = {'dataset': 'dataset', 'source': 'source_backbone', 'eval': 'eval_backbone', 'ipc': 'ipc'}
_NONE_OF = {'source': ANY_SOURCE, 'ipc': 'all'}  # the value for methods without a source backbone or ipc


def narrow(table: Any, **wanted: Sequence[str]) -> Any:
    """Filter the records of `store.load_table` by the values given for each flag (dataset, source, eval, ipc).

    A flag without values keeps all records. Methods without a source backbone (`any`) or without images per class (`all`)
    are always kept: they are compared with every source, or serve as the reference.

    Raises:
      InputError: if no finished record has one of the values.
    """
    kept = table
    for flag, values in wanted.items():
        column = table[NARROWS[flag]]
        shown = column.astype(object).where(column.notna(), 'all').map(str)
        known = sorted(set(shown[table.status == 'ok']), key=lambda value: (len(value) * value.isdigit(), value))
        if unknown := [value for value in values if value not in known]:
            found = ', '.join(known) or 'none'
            raise InputError(f'--{flag}={unknown[0]}: expected a value of a finished record; found {found}')
        if values:
            kept = kept[shown[kept.index].isin([*values, _NONE_OF.get(flag)])]
    return kept


def compare(table: Any, *, a: str, b: str, reference: str = 'full') -> list[dict[str, Any]]:
    """Return one row per condition (data set, source and eval backbone, ipc, protocol) for which both methods have records.

    The comparison is paired over method seeds: the probe's mean accuracy of `b` minus the probe's mean accuracy of `a`, at
    equal seeds. A method without a source backbone is compared with each source of the other method, and a method that uses
    no seed (according to its records) with each seed of the other method. `p` is the two-sided p-value of Student's paired
    t-test over the seeds, NaN for fewer than two seeds. `closed` is the share of the gap between `a` and `reference` that
    `b` closes, NaN unless the reference is better than `a`.

    Args:
      table: the data frame of `store.load_table`, or some of its rows.
      a: label of the first method.
      b: label of the second method.
      reference: label of the method at the upper end of the gap, under the same condition; full data counts for every ipc.

    Returns:
      Rows with the condition (ipc is None if the methods have no ipc), the number of pairs `n`, `mean_a`, `mean_b`,
      `difference`, `p` and `closed` (fractions).

    Raises:
      InputError: if a method has no finished record, or its records for one condition differ in more than the seed.
    """
    done = table[table.status == 'ok'].assign(accuracy=lambda t: [float(np.mean(top1)) for top1 in t.top1])
    if missing := [name for name in (a, b) if name not in set(done.method)]:
        known = ', '.join(sorted(set(done.method))) or 'none'
        raise InputError(f'no finished record of method {missing[0]!r}; methods with finished records: {known}')
    found = []
    for values, rows in done.groupby(_WHERE, dropna=False):
        compared = rows[rows.method.isin([a, b])]
        for source in sorted({*compared.source_backbone} - {ANY_SOURCE}) or [ANY_SOURCE]:
            condition = {**dict(zip(_WHERE, values, strict=True)), 'source_backbone': source}
            condition['ipc'] = None if rows.ipc.isna().all() else condition['ipc']
            here = compared[compared.source_backbone.isin([source, ANY_SOURCE])]
            sides = (_by_seed(here[here.method == name], condition) for name in (a, b))
            x, y = _pairs(*sides)
            if len(x):
                goal = _accuracy(done[done.method == reference], condition)
                found.append({**condition, 'n': len(x), **_statistics(x, y, goal=goal)})
    return found


def _by_seed(rows: Any, condition: dict[str, Any]) -> Any:
    """Return the records of one method under one condition, indexed by seed.

    Raises:
      InputError: if the records differ in more than the seed, or two records have the same seed.
    """
    twice = rows[rows.duplicated('seed', keep=False)]
    if rows.settings.nunique() > 1:
        labels = summary.variant_labels(sorted(set(rows.settings)))
        paths = rows.drop_duplicates('settings').path
        what = f'different settings ({" | ".join(sorted(labels.values()))})'
    elif len(twice):
        paths, what = twice.path, f'seed {twice.seed.iloc[0]} more than once'
    else:
        return rows.set_index('seed')
    raise InputError(
        f'{rows.method.iloc[0]} has records with {what} for {_named(condition)}, such as {paths.iloc[0]} and '
        f'{paths.iloc[1]}: put them into separate results folders, or exclude these cells with --dataset, --source, '
        '--eval or --ipc'
    )


def _pairs(first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the paired accuracies of two methods under one condition."""
    x, y = first.accuracy, second.accuracy
    if len(x) and len(y) and set(x.index) != set(y.index):
        if not _draws(first):
            x = x.iloc[[0] * len(y)].set_axis(y.index)
        elif not _draws(second):
            y = y.iloc[[0] * len(x)].set_axis(x.index)
    seeds = sorted({*x.index} & {*y.index})
    return x[seeds].to_numpy(), y[seeds].to_numpy()


def _draws(rows: Any) -> bool:
    """Return whether a method's distilled set depends on the seed, directly or through the images that it starts from."""
    return len(rows) > 1 or bool(rows.needs_seed.iloc[0])


def _accuracy(rows: Any, condition: dict[str, Any]) -> float:
    """Return the mean accuracy of the reference under a condition, NaN if it has no record."""
    same = rows[
        (rows.dataset == condition['dataset']) & (rows.eval_backbone == condition['eval_backbone'])
        & (rows.protocol_hash == condition['protocol_hash'])
        & rows.source_backbone.isin([condition['source_backbone'], ANY_SOURCE])
    ]  # fmt: skip
    whole = same.ipc.isna()
    here = whole if whole.any() else (same.ipc == condition['ipc']) & (same.labels == condition['labels'])
    return _by_seed(same[here], condition).accuracy.mean()


def _statistics(x: np.ndarray, y: np.ndarray, *, goal: float) -> dict[str, float]:
    from scipy import stats  # imported here because the import takes a second

    differ = len(x) > 1 and np.ptp(y - x) > 0
    gap = goal - x.mean()
    return {
        'mean_a': x.mean(), 'mean_b': y.mean(), 'difference': (y - x).mean(),
        'p': float(stats.ttest_rel(y, x).pvalue) if differ else float('nan'),
        'closed': (y - x).mean() / gap if gap > 0 else float('nan'),
    }  # fmt: skip


def _named(condition: dict[str, Any]) -> str:
    source = condition['source_backbone']
    origin = '' if source in (condition['eval_backbone'], ANY_SOURCE) else f' from {source}'
    soft = ' soft' if condition['labels'] == 'soft' else ''
    size = 'all' if condition['ipc'] is None else condition['ipc']
    return f'{condition["dataset"]} x {condition["eval_backbone"]}{origin} ipc {size} {condition["protocol"]}{soft}'


def text(rows: list[dict[str, Any]], *, a: str, b: str, reference: str) -> str:
    """Return the comparison as an aligned table for the terminal."""
    lines = [['', f'{a:>12}', f'{b:>12}', 'difference', f'{"n":>3}', f'{"p":>8}', f' gap to {reference} closed']]
    for row in rows:
        lines.append([
            _named(row), f'{100 * row["mean_a"]:.1f}', f'{100 * row["mean_b"]:.1f}', f'{100 * row["difference"]:+.1f}',
            str(row['n']), '-' if np.isnan(row['p']) else f'{row["p"]:.2g}',
            ' -' if np.isnan(row['closed']) else f' {100 * row["closed"]:.0f} %',
        ])  # fmt: skip
    return aligned(lines, right=range(1, 6), gap=' ')


# --- comparison with the published results ------------------------------------------------------------------------------


def compare_to_published(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the leaderboard rows that have both a mean and a published accuracy, in leaderboard order; all in percent.

    The interval is Welch's 95 % interval for two unpaired samples of unequal variance. Our sample is the means of the method
    seeds if there are two or more, else the probe seeds, as in the leaderboard. The published sample has `published.RUNS`
    runs.

    Args:
      rows: leaderboard rows of `summary.read`.

    Returns:
      The leaderboard rows with four more columns: `difference` (ours minus published); `low` and `high`, which are None if
      one sample has a single run, the published accuracy has no ±, or neither sample has any spread; and the size of our
      sample, `n`, with its `unit` ('seeds' or 'probes').
    """
    found = []
    for row in rows:
        if row['published_mean'] is None or row['top1_mean'] is None:
            continue
        seeds = row['n_seeds'] > 1
        std, n = (row['top1_std_seeds'], row['n_seeds']) if seeds else (row['top1_std'], row['n_repeats'])
        theirs = published.Accuracy(row['published_mean'], row['published_std'])
        difference = row['top1_mean'] - theirs.mean
        half = None
        if std is not None and theirs.sample_std is not None:
            half = welch_half_width(std, n, theirs.sample_std, published.RUNS)
        ends = {'low': None, 'high': None} if half is None else {'low': difference - half, 'high': difference + half}
        found.append({**row, 'difference': difference, **ends, 'n': n, 'unit': 'seeds' if seeds else 'probes'})
    return found


def published_text(rows: list[dict[str, Any]]) -> str:
    """Return the rows of `compare_to_published` as an aligned table for the terminal."""
    lines = [[' ' * 60, f'{"ours":>6}', f'{"published":>12}', f'{"difference":>11}', f'{"95% interval":>16}', ' n']]
    for row in rows:
        own = row['source_backbone'] in (row['eval_backbone'], ANY_SOURCE)
        origin = '' if own else f' from {row["source_backbone"]}'
        settings = f' ({row["settings"]})' if row['settings'] else ''
        theirs = f'{row["published_mean"]:.1f}' + ('' if row['published_std'] is None else f' ± {row["published_std"]:.1f}')
        lines.append([
            f'{row["dataset"]} x {row["eval_backbone"]}: {row["method"]}{origin}{settings}, {row["protocol"]}',
            f'{row["top1_mean"]:.1f}', theirs, f'{row["difference"]:+.1f}',
            '-' if row['low'] is None else f'{row["low"]:+.1f} to {row["high"]:+.1f}', f' {row["n"]} {row["unit"]}',
        ])  # fmt: skip
    remarks = (
        'Difference: ours minus published, in percentage points. Interval: Welch, 95 %, for n runs of ours and '
        f'{published.RUNS} published runs.\n'
        'The published ± is over probe seeds of one distilled set, or over random choices of images. It does not include '
        'the spread over distillation seeds.'
    )
    return f'{aligned(lines, right=range(1, 5), gap=" ")}\n{remarks}'


def to_published(table: Any, *, results_dir: Path) -> str:
    """Return all leaderboard rows that have a published accuracy, as an aligned table for the terminal.

    Raises:
      InputError: if there are no such rows.
    """
    accuracies = published.load(results_dir)
    board = published.beside(summary.summarise(table), accuracies)
    rows = compare_to_published(board)
    if not rows:
        datasets, backbones, rules = (
            ', '.join(sorted({row[name] for row in board})) for name in ('dataset', 'eval_backbone', 'protocol')
        )
        there = f'records of {datasets} on {backbones} under {rules}' if datasets else 'no records'
        known = ', '.join(sorted({condition[0] for condition in accuracies})) or 'nothing'
        raise InputError(
            f'{results_dir}: expected a finished row with a published accuracy ({known}; one image per class or full data; '
            f'protocol {" or ".join(published.PROTOCOLS)}), found {there}'
        )
    return published_text(rows)

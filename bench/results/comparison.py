"""Is one method better than another? And did we reproduce what was published?"""

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
# Flag -> the column that it narrows.
NARROWS = {'dataset': 'dataset', 'source': 'source_backbone', 'eval': 'eval_backbone', 'ipc': 'ipc'}
_NONE_OF = {'source': ANY_SOURCE, 'ipc': 'all'}  # how a method is written that has none


def narrow(table: Any, **wanted: Sequence[str]) -> Any:
    """Return the records of `store.load_table` that have one of the wanted values, by flag (dataset, source, eval, ipc).

    No wanted values keep every record. A method without a source backbone (`any`), or without images per class (`all`), is
    kept whatever is wanted, because it stands against every source, or is what a gap is measured to.

    Raises:
      InputError: for a value that no finished record has.
    """
    kept = table
    for flag, values in wanted.items():
        column = table[NARROWS[flag]]
        shown = column.astype(object).where(column.notna(), 'all').map(str)
        known = sorted(set(shown[table.status == 'ok']), key=lambda value: (len(value) * value.isdigit(), value))
        if unknown := [value for value in values if value not in known]:
            there = ', '.join(known) or 'none'
            raise InputError(f'--{flag}={unknown[0]}: expected a value that finished records have; there are {there}')
        if values:
            kept = kept[shown[kept.index].isin([*values, _NONE_OF.get(flag)])]
    return kept


def compare(table: Any, *, a: str, b: str, reference: str = 'full') -> list[dict[str, Any]]:
    """Return one row for each place (data set, source and eval backbone, ipc, protocol) where both methods have records.

    A method without a source backbone stands against each source of the other. Seeds are paired: the probe's mean accuracy
    of `b` minus that of `a` for equal method seeds. A method that uses no seed, as its records
    tell, stands against each seed of the other. `p` is the two-sided p-value of Student's paired
    t-test over the seeds, NaN with fewer than two. `closed` is the share of the gap from `a` to `reference` that `b`
    closes, NaN where the reference is not ahead of `a`.

    Args:
      table: of `store.load_table`, or some of its rows.
      a: a method's label.
      b: another's.
      reference: a method that the gap is measured to, of the same place; full data is of every ipc.

    Returns:
      Rows with the place (ipc None where the methods have none), `n` pairs, `mean_a`, `mean_b`, `difference`, `p`, `closed`
      (fractions).

    Raises:
      InputError: if a method has no finished record, or has records in one place that differ in more than the seed.
    """
    done = table[table.status == 'ok'].assign(accuracy=lambda t: [float(np.mean(top1)) for top1 in t.top1])
    if missing := [name for name in (a, b) if name not in set(done.method)]:
        known = ', '.join(sorted(set(done.method))) or 'none'
        raise InputError(f'no finished record of method {missing[0]!r}; there are {known}')
    found = []
    for values, rows in done.groupby(_WHERE, dropna=False):
        compared = rows[rows.method.isin([a, b])]
        for source in sorted({*compared.source_backbone} - {ANY_SOURCE}) or [ANY_SOURCE]:
            place = {**dict(zip(_WHERE, values, strict=True)), 'source_backbone': source}
            place['ipc'] = None if rows.ipc.isna().all() else place['ipc']
            here = compared[compared.source_backbone.isin([source, ANY_SOURCE])]
            sides = (_by_seed(here[here.method == name], place) for name in (a, b))
            x, y = _pairs(*sides)
            if len(x):
                goal = _accuracy(done[done.method == reference], place)
                found.append({**place, 'n': len(x), **_statistics(x, y, goal=goal)})
    return found


def _by_seed(rows: Any, place: dict[str, Any]) -> Any:
    """Return the records of one method in one place, by seed.

    Raises:
      InputError: if they differ in more than the seed, or two have the same.
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
        f'{rows.method.iloc[0]} has records with {what} in one place, {_named(place)}, such as {paths.iloc[0]} and '
        f'{paths.iloc[1]}: compare them in results folders of their own, or leave the place out with --dataset, --source, '
        '--eval or --ipc'
    )


def _pairs(first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the accuracies of two methods in one place, pair by pair."""
    x, y = first.accuracy, second.accuracy
    if len(x) and len(y) and set(x.index) != set(y.index):
        if not _draws(first):
            x = x.iloc[[0] * len(y)].set_axis(y.index)
        elif not _draws(second):
            y = y.iloc[[0] * len(x)].set_axis(x.index)
    seeds = sorted({*x.index} & {*y.index})
    return x[seeds].to_numpy(), y[seeds].to_numpy()


def _draws(rows: Any) -> bool:
    """Return whether the images of a method depend on the seed, those that it starts from included."""
    return len(rows) > 1 or bool(rows.needs_seed.iloc[0])


def _accuracy(rows: Any, place: dict[str, Any]) -> float:
    """Return the mean accuracy of a reference in a place, NaN where it has none."""
    same = rows[
        (rows.dataset == place['dataset']) & (rows.eval_backbone == place['eval_backbone'])
        & (rows.protocol_hash == place['protocol_hash'])
        & rows.source_backbone.isin([place['source_backbone'], ANY_SOURCE])
    ]  # fmt: skip
    whole = same.ipc.isna()
    here = whole if whole.any() else (same.ipc == place['ipc']) & (same.labels == place['labels'])
    return _by_seed(same[here], place).accuracy.mean()


def _statistics(x: np.ndarray, y: np.ndarray, *, goal: float) -> dict[str, float]:
    from scipy import stats  # here, because it takes a second

    differ = len(x) > 1 and np.ptp(y - x) > 0
    gap = goal - x.mean()
    return {
        'mean_a': x.mean(), 'mean_b': y.mean(), 'difference': (y - x).mean(),
        'p': float(stats.ttest_rel(y, x).pvalue) if differ else float('nan'),
        'closed': (y - x).mean() / gap if gap > 0 else float('nan'),
    }  # fmt: skip


def _named(place: dict[str, Any]) -> str:
    source = place['source_backbone']
    origin = '' if source in (place['eval_backbone'], ANY_SOURCE) else f' from {source}'
    soft = ' soft' if place['labels'] == 'soft' else ''
    size = 'all' if place['ipc'] is None else place['ipc']
    return f'{place["dataset"]} x {place["eval_backbone"]}{origin} ipc {size} {place["protocol"]}{soft}'


def text(rows: list[dict[str, Any]], *, a: str, b: str, reference: str) -> str:
    """Return the comparison as a table for a terminal."""
    lines = [['', f'{a:>12}', f'{b:>12}', 'difference', f'{"n":>3}', f'{"p":>8}', f' gap to {reference} closed']]
    for row in rows:
        lines.append([
            _named(row), f'{100 * row["mean_a"]:.1f}', f'{100 * row["mean_b"]:.1f}', f'{100 * row["difference"]:+.1f}',
            str(row['n']), '-' if np.isnan(row['p']) else f'{row["p"]:.2g}',
            ' -' if np.isnan(row['closed']) else f' {100 * row["closed"]:.0f} %',
        ])  # fmt: skip
    return aligned(lines, right=range(1, 6), gap=' ')


# --- to what was published ----------------------------------------------------------------------------------------------


def compare_to_published(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each of the leaderboard's with a mean and a published number, in its order; all in percent.

    The interval is Welch's, at 95 %: two unpaired samples of unequal variance. Ours is over the means of the method seeds
    where there are two or more, else over probe seeds, as in the leaderboard; theirs is over `published.RUNS` runs.

    Args:
      rows: of `summary.read`.

    Returns:
      Rows with what the leaderboard's have, `difference` (ours minus theirs), `low` and `high` (None where one side has a
      single run, theirs has no ±, or both have no spread), `n` and `unit` ('seeds' or 'probes'; of ours).
    """
    found = []
    for row in rows:
        if row['published_mean'] is None or row['top1_mean'] is None:
            continue
        seeds = row['n_seeds'] > 1
        std, n = (row['top1_std_seeds'], row['n_seeds']) if seeds else (row['top1_std'], row['n_repeats'])
        theirs = published.Figure(row['published_mean'], row['published_std'])
        difference = row['top1_mean'] - theirs.mean
        half = None
        if std is not None and theirs.sample_std is not None:
            half = welch_half_width(std, n, theirs.sample_std, published.RUNS)
        ends = {'low': None, 'high': None} if half is None else {'low': difference - half, 'high': difference + half}
        found.append({**row, 'difference': difference, **ends, 'n': n, 'unit': 'seeds' if seeds else 'probes'})
    return found


def published_text(rows: list[dict[str, Any]]) -> str:
    """Return what `compare_to_published` found as a table for a terminal."""
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
        'Difference: ours minus published, in points. Interval: Welch, 95 %, over n of ours and '
        f'{published.RUNS} runs of theirs.\n'
        'Their ± is over probe seeds of one set, or choices of random images: it holds no spread over distillation seeds.'
    )
    return f'{aligned(lines, right=range(1, 5), gap=" ")}\n{remarks}'


def to_published(table: Any, *, results_dir: Path) -> str:
    """Return every row of records that has a published number beside it, as a table for a terminal.

    Raises:
      InputError: where there is none.
    """
    figures = published.load(results_dir)
    board = published.beside(summary.summarise(table), figures)
    rows = compare_to_published(board)
    if not rows:
        datasets, backbones = (sorted({row[name] for row in board}) for name in ('dataset', 'eval_backbone'))
        there = f'records of {", ".join(datasets)} on {", ".join(backbones)}' if datasets else 'no records'
        known = ', '.join(sorted({place[0] for place in figures})) or 'nothing'
        raise InputError(
            f'{results_dir}: expected a finished row with a published number ({known}; one image a class or full data; '
            f'{" or ".join(published.PROTOCOLS)}), found {there}'
        )
    return published_text(rows)

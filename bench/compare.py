"""Is one method better than another? And did we reproduce what was published?

    python -m bench.compare --a=lgm --b=lgm_plus      paired over seeds
    python -m bench.compare --to=published            every row of the leaderboard that arXiv 2511.16674 has a number for

Both read the records of a results folder, and neither runs anything. `--dataset`, `--source`, `--eval` and `--ipc` narrow
what is compared, such as `--dataset=plumage --ipc=1,10`.
"""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from bench import leaderboard
from bench.config import plugins, registry
from bench.core import cli
from bench.core.errors import InputError
from bench.results import published
from bench.results import record as records

_WHERE = ['dataset', 'eval_backbone', 'ipc', 'protocol', 'protocol_hash', 'labels']
# Flag -> the column that it narrows.
_NARROWS = {'dataset': 'dataset', 'source': 'source_backbone', 'eval': 'eval_backbone', 'ipc': 'ipc'}
_NONE_OF = {'source': records.ANY_SOURCE, 'ipc': 'all'}  # how a method is written that has none


def narrow(table: Any, **wanted: Sequence[str]) -> Any:
    """Return the records of `records.load_table` that have one of the wanted values, by flag (dataset, source, eval, ipc).

    No wanted values keep every record. A method without a source backbone (`any`), or without images per class (`all`), is
    kept whatever is wanted, because it stands against every source, or is what a gap is measured to.

    Raises:
      InputError: for a value that no finished record has.
    """
    kept = table
    for flag, values in wanted.items():
        column = table[_NARROWS[flag]]
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
    of `b` minus that of `a` for equal method seeds. A method that uses no seed stands against each seed of the other; the
    registry tells, and one that it does not know is taken to use a seed. `p` is the two-sided p-value of Student's paired
    t-test over the seeds, NaN with fewer than two. `closed` is the share of the gap from `a` to `reference` that `b`
    closes, NaN where the reference is not ahead of `a`.

    Args:
      table: of `records.load_table`, or some of its rows.
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
        for source in sorted({*compared.source_backbone} - {records.ANY_SOURCE}) or [records.ANY_SOURCE]:
            place = {**dict(zip(_WHERE, values, strict=True)), 'source_backbone': source}
            place['ipc'] = None if rows.ipc.isna().all() else place['ipc']
            here = compared[compared.source_backbone.isin([source, records.ANY_SOURCE])]
            x, y = _pairs(*(_by_seed(here[here.method == name], place) for name in (a, b)))
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
        labels = leaderboard.variant_labels(sorted(set(rows.settings)))
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
        if not _uses_seed(first):
            x = x.iloc[[0] * len(y)].set_axis(y.index)
        elif not _uses_seed(second):
            y = y.iloc[[0] * len(x)].set_axis(x.index)
    seeds = sorted({*x.index} & {*y.index})
    return x[seeds].to_numpy(), y[seeds].to_numpy()


def _uses_seed(rows: Any) -> bool:
    """Return whether a method draws, or the method whose images it starts from does; an unknown one is taken to."""
    if len(rows) > 1:
        return True
    from bench.distillation.task import needs_of  # here, because it imports torch

    try:
        return any(needs_of(registry.find('method', name)[0].load()).seed for name in _registered(rows.iloc[0]))
    except InputError:
        return True


def _registered(row: Any) -> list[str]:
    """Return the names in the registry of a record's method and of the one whose images it starts from."""
    start = json.loads(row.settings).get('of')
    return [row.method_name] + ([start['name']] if start else [])


def _accuracy(rows: Any, place: dict[str, Any]) -> float:
    """Return the mean accuracy of a reference in a place, NaN where it has none."""
    same = rows[
        (rows.dataset == place['dataset']) & (rows.eval_backbone == place['eval_backbone'])
        & (rows.protocol_hash == place['protocol_hash'])
        & rows.source_backbone.isin([place['source_backbone'], records.ANY_SOURCE])
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
    origin = '' if source in (place['eval_backbone'], records.ANY_SOURCE) else f' from {source}'
    soft = ' soft' if place['labels'] == 'soft' else ''
    size = 'all' if place['ipc'] is None else place['ipc']
    return f'{place["dataset"]} x {place["eval_backbone"]}{origin} ipc {size} {place["protocol"]}{soft}'


def text(rows: list[dict[str, Any]], *, a: str, b: str, reference: str) -> str:
    """Return the comparison as a table for a terminal."""
    width = max((len(_named(row)) for row in rows), default=0)
    wide = [max(12, len(name)) for name in (a, b)]
    lines = [f'{"":{width}} {a:>{wide[0]}} {b:>{wide[1]}} {"difference":>10} {"n":>3} {"p":>8}  gap to {reference} closed']
    for row in rows:
        p = '-' if np.isnan(row['p']) else f'{row["p"]:.2g}'
        closed = '-' if np.isnan(row['closed']) else f'{100 * row["closed"]:.0f} %'
        lines.append(
            f'{_named(row):{width}} {100 * row["mean_a"]:{wide[0]}.1f} {100 * row["mean_b"]:{wide[1]}.1f} '
            f'{100 * row["difference"]:+10.1f} {row["n"]:3} {p:>8}  {closed}'
        )
    return '\n'.join(lines)


# --- to what was published ----------------------------------------------------------------------------------------------


def compare_to_published(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each of the leaderboard's with a mean and a published number, in its order; all in percent.

    The interval is Welch's, at 95 %: two unpaired samples of unequal variance. Ours is over the means of the method seeds
    where there are two or more, else over probe seeds, as in the leaderboard; theirs is over `published.RUNS` runs.

    Args:
      rows: of `leaderboard.read`.

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
            half = _welch_half_width(std, n, theirs.sample_std, published.RUNS)
        ends = {'low': None, 'high': None} if half is None else {'low': difference - half, 'high': difference + half}
        found.append({**row, 'difference': difference, **ends, 'n': n, 'unit': 'seeds' if seeds else 'probes'})
    return found


def _welch_half_width(std_a: float, n_a: int, std_b: float, n_b: int) -> float | None:
    """Return half the width of the 95 % interval of a difference of means; None where neither sample has a spread."""
    from scipy.special import stdtrit  # here, because it takes a second

    a, b = std_a**2 / n_a, std_b**2 / n_b
    if a + b == 0:
        return None
    freedom = (a + b) ** 2 / (a**2 / (n_a - 1) + b**2 / (n_b - 1))  # Welch and Satterthwaite's
    return float(stdtrit(freedom, 0.975)) * math.sqrt(a + b)


def published_text(rows: list[dict[str, Any]]) -> str:
    """Return what `compare_to_published` found as a table for a terminal."""
    lines = [f'{"":60} {"ours":>6} {"published":>12} {"difference":>11} {"95% interval":>16}  n']
    for row in rows:
        own = row['source_backbone'] in (row['eval_backbone'], records.ANY_SOURCE)
        origin = '' if own else f' from {row["source_backbone"]}'
        settings = f' ({row["settings"]})' if row['settings'] else ''
        place = f'{row["dataset"]} x {row["eval_backbone"]}: {row["method"]}{origin}{settings}, {row["protocol"]}'
        theirs = f'{row["published_mean"]:.1f}' + ('' if row['published_std'] is None else f' ± {row["published_std"]:.1f}')
        interval = '-' if row['low'] is None else f'{row["low"]:+.1f} to {row["high"]:+.1f}'
        lines.append(
            f'{place:60} {row["top1_mean"]:6.1f} {theirs:>12} {row["difference"]:+11.1f} '
            f'{interval:>16}  {row["n"]} {row["unit"]}'
        )
    lines += [
        'Difference: ours minus published, in points. Interval: Welch, 95 %, over n of ours and '
        f'{published.RUNS} runs of theirs.',
        'Their ± is over probe seeds of one set, or choices of random images: it holds no spread over distillation seeds.',
    ]
    return '\n'.join(lines)


def _to_published(table: Any, results_dir: Path) -> str:
    figures = published.load(results_dir)
    board = published.beside(leaderboard.summarise(table), figures)
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


def _paired(table: Any, *, a: str, b: str, reference: str) -> str:
    rows = compare(table, a=a, b=b, reference=reference)
    for name in (a, b):
        mine = table[(table.method == name) & (table.status == 'ok')]
        strange = {known for _, row in mine.iterrows() for known in _registered(row)} - registry.rows('method').keys()
        if strange and mine.seed.nunique() == 1:
            print(
                f'{name} has one seed, and the registry does not know {min(strange)!r}: it is taken to use a seed, so only '
                'equal seeds are paired; --plugin=FILE makes it known',
                file=sys.stderr,
            )
    if not rows:
        raise InputError(f'{a} and {b} have no data set, source and eval backbone, ipc, protocol and seed in common')
    return text(rows, a=a, b=b, reference=reference)


def main() -> int:
    values = flags.FLAGS
    if values.to is not None:
        if values.to != 'published':
            raise InputError(f'--to={values.to}: expected --to=published; two methods are compared by --a=METHOD --b=METHOD')
        if values.a or values.b:
            raise InputError('expected either --to=published or --a=METHOD --b=METHOD, got both')
    elif not values.a or not values.b:
        raise InputError('expected --a=METHOD --b=METHOD, such as --a=lgm --b=lgm_plus, or --to=published')
    plugins.load(values.plugin)
    table, problems = records.load_table(Path(values.results_dir))
    for problem in problems:
        print(f'ignored: {problem}', file=sys.stderr)
    table = narrow(table, **{flag: values[flag].value for flag in _NARROWS})
    if values.to:
        print(_to_published(table, Path(values.results_dir)))
    else:
        print(_paired(table, a=values.a, b=values.b, reference=values.reference))
    return 0


if __name__ == '__main__':
    flags.DEFINE_string('results_dir', 'results', 'folder with records/')
    flags.DEFINE_string('a', None, 'a method')
    flags.DEFINE_string('b', None, 'the method compared with it')
    flags.DEFINE_string('to', None, 'published: compare every row with what arXiv 2511.16674 gives, instead of two methods')
    flags.DEFINE_string('reference', 'full', 'the method that the gap is measured to')
    flags.DEFINE_list('dataset', [], 'only these data sets, separated by commas')
    flags.DEFINE_list('source', [], 'only these source backbones; methods without one (any) stay')
    flags.DEFINE_list('eval', [], 'only these eval backbones')
    flags.DEFINE_list('ipc', [], 'only these numbers of images per class; methods without one (all) stay')
    flags.DEFINE_multi_string('plugin', [], 'module name or path of a .py file that registers more; repeatable')
    cli.start(main)

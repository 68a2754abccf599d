"""Is one method better than another? Do our results reproduce the published ones?"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.core.errors import InputError
from bench.core.tables import aligned
from bench.results import published, summary
from bench.results.intervals import welch_half_width
from bench.results.record import ANY_SOURCE
from bench.results.statistics import Scores, holm, scores_of

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

    The difference is the accuracy of `b` minus that of `a`, paired by test image (`bench.results.statistics`). A method
    without a source backbone is compared with each source of the other method. `closed` is the share of the gap between `a`
    and `reference` that `b` closes.

    Args:
      table: the data frame of `store.load_table`, or some of its rows.
      a: label of the first method.
      b: label of the second method.
      reference: label of the method at the upper end of the gap, under the same condition; full data counts for every ipc.

    Returns:
      Rows with the condition (ipc is None if the methods have no ipc), the accuracies `a` and `b`, their `difference` and
      `closed` (Estimates; `closed` is None unless the reference is better than `a`), the two-sided `p` of no difference and
      `adjusted`, the same after Holm over all rows. Two methods that draw nothing, under a protocol that draws nothing, are
      compared by McNemar's exact test. `p` is NaN if a method draws its sets and has only one.

    Raises:
      InputError: if a method has no finished record, or its records for one condition differ in more than the seed.
    """
    done = table[table.status == 'ok']
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
            first, second = (_scores(here[here.method == name], condition) for name in (a, b))
            if first is not None and second is not None:
                goal = _reference(done[done.method == reference], condition)
                found.append({**condition, **_statistics(first, second, goal=goal)})
    known_p = [row['p'] for row in found if not math.isnan(row['p'])]
    adjusted = iter(holm(known_p))
    return [{**row, 'adjusted': math.nan if math.isnan(row['p']) else next(adjusted)} for row in found]


def _scores(rows: Any, condition: dict[str, Any]) -> Scores | None:
    """Return the scores of one method under one condition, None without records.

    Raises:
      InputError: if the records differ in more than the seed, or two records have the same seed.
    """
    if not len(rows):
        return None
    twice = rows[rows.duplicated('seed', keep=False)]
    if rows.settings.nunique() > 1:
        labels = summary.variant_labels(sorted(set(rows.settings)))
        paths = rows.drop_duplicates('settings').path
        what = f'different settings ({" | ".join(sorted(labels.values()))})'
    elif len(twice):
        paths, what = twice.path, f'seed {twice.seed.iloc[0]} more than once'
    else:
        return scores_of(list(rows.scored))
    raise InputError(
        f'{rows.method.iloc[0]} has records with {what} for {_named(condition)}, such as {paths.iloc[0]} and '
        f'{paths.iloc[1]}: put them into separate results folders, or exclude these cells with --dataset, --source, '
        '--eval or --ipc'
    )


def _reference(rows: Any, condition: dict[str, Any]) -> Scores | None:
    """Return the scores of the reference under a condition, None if it has no record."""
    same = rows[
        (rows.dataset == condition['dataset']) & (rows.eval_backbone == condition['eval_backbone'])
        & (rows.protocol_hash == condition['protocol_hash'])
        & rows.source_backbone.isin([condition['source_backbone'], ANY_SOURCE])
    ]  # fmt: skip
    whole = same.ipc.isna()
    here = whole if whole.any() else (same.ipc == condition['ipc']) & (same.labels == condition['labels'])
    return _scores(same[here], condition)


def _statistics(a: Scores, b: Scores, *, goal: Scores | None) -> dict[str, Any]:
    first, second = a.accuracy(), b.accuracy()
    difference = second - first
    gap = None if goal is None else goal.accuracy() - first
    return {
        'a': first, 'b': second, 'difference': difference,
        'sets': (len(a.sets), len(b.sets)), 'probes': (a.correct_SPN.shape[1], b.correct_SPN.shape[1]),
        'p': math.nan if difference.one_set else _mcnemar(a, b) if _fixed(a) and _fixed(b) else difference.p,
        'closed': difference / gap if gap is not None and gap.mean > 0 else None,
    }  # fmt: skip


def _fixed(scores: Scores) -> bool:
    """Return whether nothing is drawn: neither the distilled set nor the probe."""
    return not scores.drawn and scores.correct_SPN.shape[:2] == (1, 1)


def _mcnemar(a: Scores, b: Scores) -> float:
    """Return the two-sided p-value of McNemar's exact test: of the images that one side alone gets right, half are a's."""
    from scipy.stats import binomtest  # imported here because the import takes a second

    ahead, behind = (int((x & ~y).sum()) for x, y in ((b.correct_SPN, a.correct_SPN), (a.correct_SPN, b.correct_SPN)))
    return float(binomtest(ahead, ahead + behind).pvalue) if ahead + behind else 1.0


def _named(condition: dict[str, Any]) -> str:
    source = condition['source_backbone']
    origin = '' if source in (condition['eval_backbone'], ANY_SOURCE) else f' from {source}'
    soft = ' soft' if condition['labels'] == 'soft' else ''
    size = 'all' if condition['ipc'] is None else condition['ipc']
    return f'{condition["dataset"]} x {condition["eval_backbone"]}{origin} ipc {size} {condition["protocol"]}{soft}'


def text(rows: list[dict[str, Any]], *, a: str, b: str, reference: str) -> str:
    """Return the comparison as an aligned table for the terminal."""
    head = ['difference, 95 % interval', 'p', 'p (Holm)', f'gap to {reference} closed', 'sets x probes']
    lines = [['', f'{a:>12}', f'{b:>12}', *head]]
    for row in rows:
        difference, closed = row['difference'], row['closed']
        interval = '' if difference.one_set else f' [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]'
        sizes = (f'{sets} x {probes}' for sets, probes in zip(row['sets'], row['probes'], strict=True))
        lines.append([
            _named(row), f'{100 * row["a"].mean:.1f}', f'{100 * row["b"].mean:.1f}',
            f'{100 * difference.mean:+.1f}{interval}',
            *('-' if math.isnan(row[name]) else f'{row[name]:.2g}' for name in ('p', 'adjusted')),
            '-' if closed is None else f'{100 * closed.mean:.0f} %', ' / '.join(sizes),
        ])  # fmt: skip
    few = 'A method that draws its sets and has only one has no interval: make another seed.'
    return aligned(lines, right=range(1, 8)) + (f'\n{few}' if any(row['difference'].one_set for row in rows) else '')


# --- comparison with the published results ------------------------------------------------------------------------------


LEAST_SETS = 3  # distilled sets of a method that draws them: with fewer, nothing is said about its published number
MARGIN = 1.5  # points within which two accuracies count as equal


def compare_to_published(rows: list[dict[str, Any]], *, margin: float = MARGIN) -> list[dict[str, Any]]:
    """Return the leaderboard rows that have both a mean and a published accuracy, in leaderboard order; all in percent.

    Both sides were tested on the same test split, so its choice does not count. The interval is Welch's 95 % interval for
    two unpaired samples of unequal variance: our distilled sets, or the probe seeds of a method that draws none, and the
    `published.RUNS` published runs. Two one-sided tests at 5 % decide whether the difference is within the margin.

    Args:
      rows: leaderboard rows of `summary.read`.
      margin: in percentage points.

    Returns:
      The leaderboard rows with `difference` (ours minus published); `low` and `high`, None if our sets are too few or the
      published accuracy has no ±; and `verdict`: 'equal' (within the margin), 'lower' or 'higher' (the interval leaves out
      0), 'open', or what is missing.
    """
    found = []
    for row in rows:
        if row['published_mean'] is None or row['top1_mean'] is None:
            continue
        drawn = row['one_set'] or row['n_sets'] > 1
        std, n = (row['std_sets'], row['n_sets']) if drawn else (row['top1_std'], row['n_repeats'])
        theirs = published.Accuracy(row['published_mean'], row['published_std'])
        difference = row['top1_mean'] - theirs.mean
        ends: dict[str, float | None] = {'low': None, 'high': None}
        if drawn and n < LEAST_SETS:
            verdict = f'needs {LEAST_SETS} sets, has {n}'
        elif std is None or theirs.sample_std is None:
            verdict = 'no published ±' if theirs.sample_std is None else 'one repeat'
        else:
            half, one_sided = (welch_half_width(std, n, theirs.sample_std, published.RUNS, level=x) for x in (0.95, 0.90))
            ends = {'low': difference - half, 'high': difference + half}
            verdict = 'equal' if abs(difference) + one_sided < margin else 'open' if abs(difference) <= half else ''
            verdict = verdict or ('higher' if difference > 0 else 'lower')
        found.append({**row, 'difference': difference, **ends, 'verdict': verdict})
    return found


def published_text(rows: list[dict[str, Any]], *, margin: float = MARGIN) -> str:
    """Return the rows of `compare_to_published` as an aligned table for the terminal."""
    lines = [['', 'ours', 'published', 'difference', '95 % interval', 'sets x probes', 'verdict']]
    for row in rows:
        own = row['source_backbone'] in (row['eval_backbone'], ANY_SOURCE)
        origin = '' if own else f' from {row["source_backbone"]}'
        settings = f' ({row["settings"]})' if row['settings'] else ''
        theirs = f'{row["published_mean"]:.1f}' + ('' if row['published_std'] is None else f' ± {row["published_std"]:.1f}')
        lines.append([
            f'{row["dataset"]} x {row["eval_backbone"]}: {row["method"]}{origin}{settings}, {row["protocol"]}',
            f'{row["top1_mean"]:.1f}', theirs, f'{row["difference"]:+.1f}',
            '-' if row['low'] is None else f'{row["low"]:+.1f} to {row["high"]:+.1f}',
            f'{row["n_sets"]} x {row["n_probes"]}', row['verdict'],
        ])  # fmt: skip
    remarks = (
        'Difference: ours minus published, in percentage points, on the same test split. Interval: Welch, over our sets (or '
        f'probe seeds) and {published.RUNS} published runs.\n'
        f'Equal: within {margin:g} points by two one-sided tests at 5 %. The published ± is over probe seeds of one '
        'distilled set, or over random choices of images; it does not include the spread over distillation seeds.'
    )
    return f'{aligned(lines, right=range(1, 6))}\n{remarks}'


def to_published(table: Any, *, results_dir: Path, margin: float = MARGIN) -> str:
    """Return all leaderboard rows that have a published accuracy, as an aligned table for the terminal.

    Raises:
      InputError: if there are no such rows.
    """
    accuracies = published.load(results_dir)
    board = published.beside(summary.summarise(table)[0], accuracies)
    rows = compare_to_published(board, margin=margin)
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
    return published_text(rows, margin=margin)

"""Is one method better than another? And did we reproduce what was published?

    python -m bench.compare --a=lgm --b=lgm_plus      paired over seeds
    python -m bench.compare --to=published            every row of the leaderboard that arXiv 2511.16674 has a number for

Both read the records of a results folder, and neither runs anything.
"""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from bench import leaderboard
from bench.core import cli
from bench.core.errors import InputError
from bench.results import published
from bench.results import record as records

_WHERE = ['dataset', 'eval_backbone', 'ipc', 'protocol', 'protocol_hash', 'labels']


def compare(table: Any, *, a: str, b: str, reference: str = 'full') -> list[dict[str, Any]]:
    """Return one row for each place (data set, backbones, ipc, protocol) where both methods have records.

    Seeds are paired: the probe's mean accuracy of `b` minus that of `a` for equal method seeds; a method without seeds
    stands against each seed of the other. `p` is the two-sided p-value of Student's paired t-test over the seeds, NaN with
    fewer than two. `closed` is the share of the gap from `a` to `reference` that `b` closes.

    Args:
      table: of `records.load_table`.
      a: a method's label.
      b: another's.
      reference: a method that the gap is measured to.

    Returns:
      Rows with the place, `n` pairs, `mean_a`, `mean_b`, `difference`, `p`, `closed` (fractions).

    Raises:
      InputError: if a method has no finished record, or several with one seed in one place.
    """
    from scipy import stats  # here, because it takes a second

    done = table[table.status == 'ok'].assign(accuracy=lambda t: [float(np.mean(top1)) for top1 in t.top1])
    if missing := [name for name in (a, b) if name not in set(done.method)]:
        known = ', '.join(sorted(set(done.method))) or 'none'
        raise InputError(f'no finished record of method {missing[0]!r}; there are {known}')
    found = []
    for place, rows in done.groupby(_WHERE, dropna=False):
        first, second = (_by_seed(rows[rows.method == name], name) for name in (a, b))
        seeds = sorted(first.keys() & second.keys())
        if len(first) == 1 and len(second) > 1:
            first, seeds = dict.fromkeys(second, *first.values()), sorted(second)
        elif len(second) == 1 and len(first) > 1:
            second, seeds = dict.fromkeys(first, *second.values()), sorted(first)
        if not seeds:
            continue
        x, y = np.array([first[s] for s in seeds]), np.array([second[s] for s in seeds])
        goal = done[(done.method == reference) & (done.dataset == place[0]) & (done.eval_backbone == place[1])
                    & (done.protocol_hash == place[4])].accuracy.mean()  # fmt: skip
        differ = len(seeds) > 1 and np.ptp(y - x) > 0
        found.append({
            **dict(zip(_WHERE, place, strict=True)), 'n': len(seeds), 'mean_a': x.mean(), 'mean_b': y.mean(),
            'difference': (y - x).mean(), 'p': float(stats.ttest_rel(y, x).pvalue) if differ else float('nan'),
            'closed': (y.mean() - x.mean()) / (goal - x.mean()),
        })  # fmt: skip
    return found


def _by_seed(rows: Any, name: str) -> dict[int, float]:
    twice = rows[rows.duplicated('seed', keep=False)]
    if len(twice):
        raise InputError(
            f'{name} has several records of seed {twice.seed.iloc[0]} in one place, with other settings or source '
            f'backbones, such as {twice.path.iloc[0]} and {twice.path.iloc[1]}: compare them in results folders of their own'
        )
    return dict(zip(rows.seed, rows.accuracy, strict=True))


def text(rows: list[dict[str, Any]], *, a: str, b: str, reference: str) -> str:
    """Return the comparison as a table for a terminal."""
    lines = [f'{"":44} {a:>12} {b:>12} {"difference":>10} {"n":>3} {"p":>8}  gap to {reference} closed']
    for row in rows:
        soft = ' soft' if row['labels'] == 'soft' else ''
        place = f'{row["dataset"]} x {row["eval_backbone"]} ipc {row["ipc"]} {row["protocol"]}{soft}'
        p = '-' if np.isnan(row['p']) else f'{row["p"]:.2g}'
        closed = '-' if np.isnan(row['closed']) else f'{100 * row["closed"]:.0f} %'
        lines.append(
            f'{place:44} {100 * row["mean_a"]:12.1f} {100 * row["mean_b"]:12.1f} {100 * row["difference"]:+10.1f} '
            f'{row["n"]:3} {p:>8}  {closed}'
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


def _to_published(results_dir: Path) -> str:
    board = leaderboard.read(results_dir)
    for problem in board.problems:
        print(f'ignored: {problem}', file=sys.stderr)
    rows = compare_to_published(board.rows)
    if not rows:
        datasets, backbones = (sorted({row[name] for row in board.rows}) for name in ('dataset', 'eval_backbone'))
        there = f'records of {", ".join(datasets)} on {", ".join(backbones)}' if datasets else 'no records'
        known = ', '.join(sorted({place[0] for place in published.load(results_dir)})) or 'nothing'
        raise InputError(
            f'{results_dir}: expected a finished row with a published number ({known}; one image a class or full data; '
            f'{" or ".join(published.PROTOCOLS)}), found {there}'
        )
    return published_text(rows)


def main() -> int:
    values = flags.FLAGS
    if values.to is not None:
        if values.to != 'published':
            raise InputError(f'--to={values.to}: expected --to=published; two methods are compared by --a=METHOD --b=METHOD')
        if values.a or values.b:
            raise InputError('expected either --to=published or --a=METHOD --b=METHOD, got both')
        print(_to_published(Path(values.results_dir)))
        return 0
    if not values.a or not values.b:
        raise InputError('expected --a=METHOD --b=METHOD, such as --a=lgm --b=lgm_plus, or --to=published')
    table, problems = records.load_table(Path(values.results_dir))
    for problem in problems:
        print(f'ignored: {problem}', file=sys.stderr)
    rows = compare(table, a=values.a, b=values.b, reference=values.reference)
    if not rows:
        raise InputError(f'{values.a} and {values.b} have no data set, backbone, ipc, protocol and seed in common')
    print(text(rows, a=values.a, b=values.b, reference=values.reference))
    return 0


if __name__ == '__main__':
    flags.DEFINE_string('results_dir', 'results', 'folder with records/')
    flags.DEFINE_string('a', None, 'a method')
    flags.DEFINE_string('b', None, 'the method compared with it')
    flags.DEFINE_string('to', None, 'published: compare every row with what arXiv 2511.16674 gives, instead of two methods')
    flags.DEFINE_string('reference', 'full', 'the method that the gap is measured to')
    cli.start(main)

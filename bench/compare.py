"""python -m bench.compare --a=lgm --b=lgm_plus: is one method better than another? Paired over seeds, from the records."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from bench import cli, records
from bench.errors import InputError

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


def main() -> int:
    values = flags.FLAGS
    if not values.a or not values.b:
        raise InputError('expected --a=METHOD --b=METHOD, such as --a=lgm --b=lgm_plus')
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
    flags.DEFINE_string('reference', 'full', 'the method that the gap is measured to')
    cli.start(main)

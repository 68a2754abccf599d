"""Is one method better than another? And did we reproduce what was published?

    python -m bench.compare --a=lgm --b=lgm_plus      paired over seeds
    python -m bench.compare --to=published            every row of the leaderboard that arXiv 2511.16674 has a number for

Both read the records of a results folder, and neither runs anything. `--dataset`, `--source`, `--eval` and `--ipc` narrow
what is compared, such as `--dataset=plumage --ipc=1,10`.
"""

import sys
from pathlib import Path
from typing import Any

from absl import flags

from bench.core import cli
from bench.core.errors import InputError
from bench.results.comparison import NARROWS, compare, narrow, text, to_published
from bench.results.store import load_table


def paired(table: Any, *, a: str, b: str, reference: str) -> str:
    """Return the comparison of two methods as text."""
    rows = compare(table, a=a, b=b, reference=reference)
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
    table, problems = load_table(Path(values.results_dir))
    for problem in problems:
        print(f'ignored: {problem}', file=sys.stderr)
    wanted: dict[str, Any] = {flag: values[flag].value for flag in NARROWS}
    table = narrow(table, **wanted)
    if values.to:
        print(to_published(table, results_dir=Path(values.results_dir)))
    else:
        print(paired(table, a=values.a, b=values.b, reference=values.reference))
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
    cli.start(main)

"""Is one method better than another? Do our results reproduce the published ones?

    python -m bench.compare --a=lgm_fast --b=lgm_plus two methods, paired by test image
    python -m bench.compare --to=published            every leaderboard row that has a result in arXiv 2511.16674

Both only read the records of a results folder. `--dataset`, `--source`, `--eval` and `--ipc` restrict the comparison, for
example `--dataset=plumage --ipc=1,10`.
"""

import sys
from pathlib import Path
from typing import Any

from absl import flags

from bench.core import cli
from bench.core.errors import InputError
from bench.results.comparison import MARGIN, NARROWS, compare, narrow, text, to_published
from bench.results.store import load_table


def paired(table: Any, *, a: str, b: str, reference: str) -> str:
    """Return the comparison of two methods as text."""
    rows = compare(table, a=a, b=b, reference=reference)
    if not rows:
        raise InputError(f'{a} and {b} have no records of equal data set, source and eval backbone, ipc and protocol')
    return text(rows, a=a, b=b, reference=reference)


def main() -> int:
    values = flags.FLAGS
    if values.to is not None:
        if values.to != 'published':
            raise InputError(f'--to={values.to}: expected --to=published; compare two methods with --a=METHOD --b=METHOD')
        if values.a or values.b:
            raise InputError('expected either --to=published or --a=METHOD --b=METHOD, got both')
    elif not values.a or not values.b:
        raise InputError('expected --a=METHOD --b=METHOD, such as --a=lgm_fast --b=lgm_plus, or --to=published')
    table, problems = load_table(Path(values.results_dir))
    for problem in problems:
        print(f'ignored: {problem}', file=sys.stderr)
    wanted: dict[str, Any] = {flag: values[flag].value for flag in NARROWS}
    table = narrow(table, **wanted)
    if values.to:
        print(to_published(table, results_dir=Path(values.results_dir), margin=values.margin))
    else:
        print(paired(table, a=values.a, b=values.b, reference=values.reference))
    return 0


if __name__ == '__main__':
    flags.DEFINE_string('results_dir', 'results', 'folder with records/')
    flags.DEFINE_string('a', None, 'the first method')
    flags.DEFINE_string('b', None, 'the second method')
    flags.DEFINE_string('to', None, 'published: compare every row with arXiv 2511.16674, instead of two methods')
    flags.DEFINE_string('reference', 'full', 'the method at the upper end of the gap')
    flags.DEFINE_float('margin', MARGIN, 'points within which ours and a published accuracy count as equal', lower_bound=0)
    flags.DEFINE_list('dataset', [], 'only these data sets, separated by commas')
    flags.DEFINE_list('source', [], 'only these source backbones; methods without one (any) are kept')
    flags.DEFINE_list('eval', [], 'only these eval backbones')
    flags.DEFINE_list('ipc', [], 'only these numbers of images per class; methods without one (all) are kept')
    cli.start(main)

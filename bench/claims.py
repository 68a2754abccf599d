"""python -m bench.claims: judge the published claims on every suite that has records; writes results/claims.md.

The suites are the files in gin/claims, or the files given by --gin_file. Some claims also need features of the test images.
These are computed if the encoder's weights and the data set are on this machine.
"""

import sys
from pathlib import Path

from absl import flags

from bench.core import cli
from bench.core.disk import write_atomic
from bench.core.errors import InputError
from bench.core.tables import replace_block


def main() -> int:
    """Records -> verdicts -> claims.md; returns the exit status."""
    from bench.analysis import published_tables
    from bench.analysis.claims import CLAIMS
    from bench.analysis.verdicts import brief, markdown
    from bench.config import plugins
    from bench.core.paths import ROOT

    values = flags.FLAGS
    plugins.load(values.plugin)
    results_dir = Path(values.results_dir)
    if not results_dir.is_dir():
        raise InputError(f'--results_dir={results_dir}: expected an existing folder')
    into = Path(values.into) if values.into else None
    files = values.gin_file or sorted(map(str, (ROOT / 'gin' / 'claims').glob('*.gin')))
    found = [judged(file, results_dir, values.gin_bindings) for file in files]
    with_records = [(suite, verdicts) for suite, verdicts in found if verdicts]
    if not with_records:
        methods = ' or '.join(sorted({suite.method for suite, _ in found}))
        raise InputError(
            f'{results_dir} has no records of {methods} for any suite; run make suite or python -m bench.run first'
        )
    for problem in dict.fromkeys(problem for suite, _ in with_records for problem in suite.evidence.problems):
        print(f'ignored: {problem}', file=sys.stderr)
    for suite, verdicts in with_records:
        print(suite.name)
        for claim, verdict in verdicts:
            print(f'  {claim.number:2}  {verdict.outcome:18}  {claim.text}')
    in_tables = published_tables.judged(CLAIMS, results_dir)
    page = markdown(with_records, [suite for suite, verdicts in found if not verdicts], in_tables)
    write_atomic(results_dir / 'claims.md', page)
    if into:
        replace_block(into, 'claims', brief(*with_records[0]))
    print(f'wrote {results_dir / "claims.md"}', file=sys.stderr)
    return 0


def judged(file: str, results_dir: Path, bindings: list[str]) -> tuple:
    """Return the suite of a gin file, without stress tests of the gate, and the (claim, verdict) pairs.

    The pairs are an empty list if no backbone with records is left.

    Raises:
      InputError: if the file does not describe a suite.
    """
    from bench.analysis.claims import CLAIMS
    from bench.analysis.evidence import Evidence
    from bench.analysis.suite import SUITE, Suite, judge
    from bench.analyze import labelled, loaders
    from bench.config import registry
    from bench.config.gin_files import loaded

    with loaded([file], bindings, command=SUITE) as config:
        by_label, names = labelled(config.command_settings(), config)
        suite = Suite(evidence=Evidence(results_dir, load=loaders(config, names)), **by_label)
        for name in suite.backbones:
            if name in registry.rows('backbone'):  # for a label of a run (`label=name`), records suffice
                config.choose('backbone', name)
        config.check_all_used(chosen_in='claims.backbones', narrowed_by=SUITE.identifier)
        suite = suite.without_stress_tests()
        return suite, [(claim, judge(claim, suite)) for claim in CLAIMS] if suite.has_records() else []


if __name__ == '__main__':
    cli.define('gin_file', 'gin_bindings', 'plugin', 'results_dir', 'cache_dir', 'data_root', 'weights_root', 'device')
    flags.DEFINE_string('into', None, 'document that shows the verdicts between its claims markers, such as README.md')
    cli.start(main)

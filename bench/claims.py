"""python -m bench.claims: judge the published claims on every suite that has records; writes results/claims.md."""

import sys
from pathlib import Path

from absl import flags

from bench.analysis.claims import CLAIMS, HOLDS, Claim, Suite, Verdict, judge
from bench.analysis.evidence import Evidence
from bench.core import cli
from bench.core.disk import write_atomic
from bench.core.errors import InputError
from bench.core.tables import replace_block

_LARGE = ('clip_vitb16', 'dinov2_vitb14', 'eva02_vitb14', 'mocov3_vitb16')
_MEANING = (
    'Every verdict is decided by the test in its row, from records at one image a class (paper-v1 probe). Brackets are 95 % '
    'intervals of paired differences, by a bootstrap over method seeds and test images; a difference is *above 0* where its '
    'interval is. What cannot be settled does not hold. Claims 11 and 15 deny a difference: they hold where none is '
    'settled. Accuracies and differences are in percent.'
)


def suites(results_dir: Path) -> list[Suite]:
    """Return the suites that are judged, whether they have records or not."""
    evidence, analysis = Evidence(results_dir), results_dir / 'analysis'
    large = {'backbones': _LARGE, 'distiller': 'dinov2_vitb14'}
    return [
        Suite(
            'embedded: plumage through four small encoders', evidence, 'plumage',
            ('tiny_clip', 'tiny_dino', 'tiny_mim', 'tiny_moco'), coarse='plumage_families', spurious='plumage_spurious',
            distiller='tiny_dino', analyses={name: analysis / f'{name}.csv' for name in ('alignment', 'embedding_images')},
        ),
        Suite('grocery through MobileNetV2', evidence, 'grocery', ('mobilenetv2_100',)),
        Suite('CUB-200 through four large backbones', evidence, 'cub200', **large, spurious='waterbirds'),
        Suite('ImageNet-100 through four large backbones', evidence, 'imagenet100', **large, spurious='spawrious',
              analyses={'alignment': analysis / 'paper_table6.csv'}),
    ]  # fmt: skip


def has_records(suite: Suite) -> bool:
    """Return whether LGM was run on the suite's data set and one of its backbones."""
    rows = suite.evidence.rows(dataset=suite.dataset, method='lgm')
    return bool(rows.eval_backbone.isin(list(suite.backbones)).any())


def markdown(found: list[tuple[Suite, list[tuple[Claim, Verdict]]]], without: list[Suite]) -> str:
    """Return claims.md.

    Args:
      found: suites with the verdicts on all claims.
      without: suites that have no records.
    """
    lines = ['# The claims of arXiv 2511.16674, checked', '', _MEANING, '']
    for suite, verdicts in found:
        held = sum(verdict.outcome == HOLDS for _, verdict in verdicts)
        lines += [f'## {suite.name}', '', f'{held} of {len(verdicts)} claims hold.', '']
        lines += ['| | claim | verdict | numbers | decided by | published |', '| ---: | --- | --- | --- | --- | --- |']
        lines += [
            f'| {claim.number} | {claim.text} | **{verdict.outcome}** | {verdict.numbers} | {claim.test} | '
            f'{claim.published_for(suite)} |'
            for claim, verdict in verdicts
        ]
        lines.append('')
    if without:
        lines += [f'No records: {"; ".join(suite.name for suite in without)}.', '']
    return '\n'.join([*lines, 'Made by `python -m bench.claims`.', ''])


def brief(suite: Suite, verdicts: list[tuple[Claim, Verdict]]) -> str:
    """Return the verdicts of a suite as a short table for a README."""
    lines = [f'Suite: {suite.name}.', '', '| | claim | verdict |', '| ---: | --- | --- |']
    lines += [f'| {claim.number} | {claim.text} | {verdict.outcome} |' for claim, verdict in verdicts]
    return '\n'.join(lines)


def main() -> int:
    """Records -> verdicts -> claims.md; returns the exit status."""
    values = flags.FLAGS
    results_dir = Path(values.results_dir)
    if not results_dir.is_dir():
        raise InputError(f'--results_dir={results_dir}: expected an existing folder')
    into = Path(values.into) if values.into else None
    known = suites(results_dir)
    found = [(suite, [(claim, judge(claim, suite)) for claim in CLAIMS]) for suite in known if has_records(suite)]
    if not found:
        raise InputError(f'{results_dir} has no records of lgm on any suite; make suite, or python -m bench.run, makes them')
    for suite, verdicts in found:
        print(suite.name)
        for claim, verdict in verdicts:
            print(f'  {claim.number:2}  {verdict.outcome:18}  {claim.text}')
    write_atomic(results_dir / 'claims.md', markdown(found, [suite for suite in known if not has_records(suite)]))
    if into:
        replace_block(into, 'claims', brief(*found[0]))
    print(f'wrote {results_dir / "claims.md"}', file=sys.stderr)
    return 0


if __name__ == '__main__':
    cli.define('results_dir')
    flags.DEFINE_string('into', None, 'document that shows the verdicts between its claims markers, such as README.md')
    cli.start(main)

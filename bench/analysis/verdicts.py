"""Verdicts as markdown: claims.md and the short table for a README."""

from collections.abc import Sequence

from bench.analysis.suite import HOLDS, Claim, Suite, Verdict
from bench.core import tables

_MEANING = (
    'Each verdict is decided by the test in its row, from records at one image per class (paper-v1 probe). Brackets are '
    '95 % intervals over distilled sets, probe seeds and test images; differences are paired. A difference is *above 0* '
    'if its whole interval is, and *significant* if its interval excludes 0. A claim without significant evidence does not '
    'hold. Claims 11 and 15 deny a difference: they hold if no such difference is significant. Accuracies and differences '
    'are in percent.'
)
Judged = tuple[Suite, list[tuple[Claim, Verdict]]]


def markdown(judged: Sequence[Judged], without: Sequence[Suite]) -> str:
    """Return claims.md.

    Args:
      judged: suites with their verdicts on all claims.
      without: suites without records.
    """
    lines = ['# The claims of arXiv 2511.16674, checked', '', _MEANING, '']
    for suite, verdicts in judged:
        held = sum(verdict.outcome == HOLDS for _, verdict in verdicts)
        head = ('', 'claim', 'verdict', 'numbers', 'decided by', 'published')
        rows = [
            (str(c.number), c.text, f'**{verdict.outcome}**', verdict.numbers, c.test, c.published_for(suite))
            for c, verdict in verdicts
        ]
        lines += [f'## {suite.name}', '', f'{held} of {len(verdicts)} claims hold. LGM is `{suite.method}` here.', '']
        lines += [tables.markdown(head, rows, right={0}), '']
    if without:
        lines += ['No records:', '']
        lines += [f'- {suite.name}' + (f' (`{suite.made_by}` makes them)' if suite.made_by else '') for suite in without]
        lines.append('')
    return '\n'.join([*lines, 'Made by `python -m bench.claims`.', ''])


def brief(suite: Suite, verdicts: list[tuple[Claim, Verdict]]) -> str:
    """Return the verdicts of a suite as a short table for a README."""
    rows = [(str(claim.number), claim.text, verdict.outcome) for claim, verdict in verdicts]
    head = f'Suite: {suite.name}. LGM is `{suite.method}` here.'
    return f'{head}\n\n' + tables.markdown(('', 'claim', 'verdict'), rows, right={0})

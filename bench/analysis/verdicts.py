"""Verdicts as markdown: claims.md and the short table for a README."""

from collections.abc import Sequence

from bench.analysis.suite import HOLDS, OPEN, PUBLISHED, REVERSED, UNKNOWN, Claim, Suite, Verdict
from bench.core import tables

_MEANING = (
    'Each verdict is decided by the rule in its row, from records at one image per class. *Holds*, *holds on k of n*, '
    '*open*: nothing was found, and the difference that could have been seen with a chance of 80 %; *reversed*. Brackets '
    'are 95 % intervals over distilled sets, probe seeds and test images; differences are paired. Accuracies and '
    'differences are in percent. Stress tests of the gate (`python -m bench.gate`) are in no verdict.'
)
_IN_TABLES = (
    'The same rules on the published tables, with four backbones each: a rule that the paper\'s own numbers fail is not the '
    'paper\'s claim. The published ± is over five runs of one set, so significance is judged mildly here.'
)
Judged = tuple[Suite, list[tuple[Claim, Verdict]]]
InTables = Sequence[tuple[Claim, dict[str, Verdict]]]


def markdown(judged: Sequence[Judged], without: Sequence[Suite], in_tables: InTables = ()) -> str:
    """Return claims.md.

    Args:
      judged: suites with their verdicts on all claims.
      without: suites without verdicts, for want of records or of a backbone that passes the gate.
      in_tables: verdicts of the same rules on the published tables, by data set.
    """
    lines = ['# The claims of arXiv 2511.16674, checked', '', _MEANING, '']
    for suite, verdicts in judged:
        head = ('', 'claim', 'verdict', 'effect', 'published', 'numbers', 'rule')
        rows = [
            (str(c.number), c.text, f'**{v.outcome}**', v.effect, c.published_for(suite), v.numbers, c.rule)
            for c, v in verdicts
        ]
        lines += [f'## {suite.name}', '', f'{_counts(verdicts)} {_stand_in(suite, verdicts)}', '']
        lines += [tables.markdown(head, rows, right={0}), '']
    if in_tables:
        names = sorted({name for _, verdicts in in_tables for name in verdicts})
        body = [
            (str(claim.number), claim.text, *(_in_table(verdicts[name]) for name in names)) for claim, verdicts in in_tables
        ]
        lines += ['## The rules on the published tables', '', _IN_TABLES, '']
        lines += [tables.markdown(('', 'claim', *names), body, right={0}), '']
    if without:
        lines += ['No verdicts:', '']
        lines += [f'- {suite.name}: {_reason(suite)}' for suite in without]
        lines.append('')
    return '\n'.join([*lines, 'Made by `python -m bench.claims`.', ''])


def _in_table(verdict: Verdict) -> str:
    return '' if verdict.outcome == UNKNOWN else f'{verdict.outcome}: {verdict.effect}'


def _counts(verdicts: Sequence[tuple[Claim, Verdict]]) -> str:
    """Return how many claims have each kind of outcome."""
    in_part = f'{HOLDS} on'
    said = {in_part: 'hold in part', HOLDS: 'hold', OPEN: 'are open', REVERSED: 'are reversed', UNKNOWN: 'lack records'}
    kinds = [next(kind for kind in said if verdict.outcome.startswith(kind)) for _, verdict in verdicts]
    parts = [f'{kinds.count(kind)} {words}' for kind, words in said.items() if kind in kinds]
    return f'Of {len(verdicts)} claims, {", ".join(parts)}.'


def _stand_in(suite: Suite, verdicts: Sequence[tuple[Claim, Verdict]]) -> str:
    said = 'LGM is the published method here.'
    if suite.method != PUBLISHED:
        own = [str(claim.number) for claim, verdict in verdicts if verdict.of == PUBLISHED]
        where = f'; on claims {", ".join(own)} the published `lgm`' if own else ''
        said = f'LGM is `{suite.method}` here, a preset{where}.'
    return said + (f' Stress tests, left out: {", ".join(suite.stress)}.' if suite.stress else '')


def _reason(suite: Suite) -> str:
    if suite.stress:
        return f'every backbone with records is a stress test ({", ".join(suite.stress)})'
    return 'no records' + (f' (`{suite.made_by}` makes them)' if suite.made_by else '')


def brief(suite: Suite, verdicts: list[tuple[Claim, Verdict]]) -> str:
    """Return the verdicts of a suite as a short table for a README."""
    rows = [(str(claim.number), claim.text, verdict.outcome, verdict.effect) for claim, verdict in verdicts]
    head = f'Suite: {suite.name}. {_stand_in(suite, verdicts)} {_counts(verdicts)}'
    return f'{head}\n\n' + tables.markdown(('', 'claim', 'verdict', 'effect'), rows, right={0})

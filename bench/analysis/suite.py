"""A suite: data sets and backbones whose records are judged together, with the queries that claims make, and verdicts."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.alignment import alignment
from bench.analysis.embedding import embedding
from bench.analysis.evidence import Evidence, Missing
from bench.config.registry import Row
from bench.core.errors import InputError
from bench.results import gate
from bench.results.record import ANY_SOURCE
from bench.results.statistics import Estimate, Scores, holm, mean_of, recovered_gap

HOLDS, OPEN, REVERSED, UNKNOWN = 'holds', 'open', 'reversed', 'not enough records'
MARGIN = 0.015  # accuracies within 1.5 points count as equal
BASELINES = ('random', 'centroid', 'herding', 'k_center', 'neighbors')
_IMAGES_TABLE = 'analysis/embedding_images.csv'  # in the results folder


@dataclass(frozen=True)
class Verdict:
    """The outcome of a claim, the effect that it is about with its interval, and the results in detail.

    The outcome is `HOLDS`, 'holds on k of n', `OPEN` with the difference that could have been seen, `REVERSED` or `UNKNOWN`.
    `of` is the label of the method that stood for LGM, '' if it is the suite's.
    """

    outcome: str
    effect: str
    numbers: str = ''
    of: str = ''


def decide(cases: Mapping[str, Estimate]) -> tuple[str, list[str]]:
    """Return the outcome of a claim that each of some differences is above 0, and the names of those that are not.

    Differences are tested two-sided at 5 % after Holm. The difference that could have been seen is that of the median case,
    with a chance of 80 %. A difference to a single drawn set decides nothing.
    """
    adjusted = holm([1.0 if case.one_set else case.p for case in cases.values()])
    settled = {name: case.mean for (name, case), p in zip(cases.items(), adjusted, strict=True) if p < 0.05}
    above, below = ({name for name, mean in settled.items() if sign * mean > 0} for sign in (1, -1))
    others = [name for name in cases if name not in above]
    if len(above) == len(cases):
        return HOLDS, others
    if above:
        return f'holds on {len(above)} of {len(cases)}' + (f', reversed on {len(below)}' if below else ''), others
    if below:
        return REVERSED + (f' on {len(below)} of {len(cases)}' if len(cases) > 1 else ''), others
    return _open(float(np.median([case.detectable for case in cases.values()]))), others


def decide_no_advantage(case: Estimate, *, margin: float = MARGIN) -> str:
    """Return the outcome of a claim that a difference is not above 0 by more than a margin."""
    if case.one_set:
        return _open(case.detectable)
    if (case * -1).p_above(-margin) < 0.05:
        return HOLDS
    return REVERSED if case.low > 0 else _open(case.detectable)


def _open(detectable: float) -> str:
    return f'{OPEN} ({100 * detectable:.1f} points could have been seen)'


PUBLISHED = 'lgm'  # the method that the claims are about


class NotEnough(Exception):
    """A record or an input that a claim needs is missing; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Data sets and backbones, given by labels; gin binds all fields except `evidence` as `claims.dataset` and so on.

    `method` is the label of the method that stands for LGM where there are no records of `lgm` itself. `baselines` are the
    choices of real images that claims name: all of them must have records before one can be called the best. `stress` are
    backbones that the gate found to be stress tests on this data set; they are in no verdict. `coarse` is a data set of the
    same images with coarser labels, `spurious` a data set with misleading backgrounds, `distiller` the backbone of the DINO
    family; '' if there is none.
    `convex` is the protocol for the second ranking of claim 15. `made_by` is the gin file of the run that makes the records.
    """

    evidence: Evidence
    name: str = ''
    method: str = 'lgm'
    dataset: str = ''
    backbones: Sequence[str] = ()
    coarse: str = ''
    spurious: str = ''
    distiller: str = ''
    protocol: str = 'paper-v1'
    convex: str = 'ridge-v1'
    made_by: str = ''
    baselines: Sequence[str] = BASELINES
    stress: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ('name', 'method', 'dataset', 'backbones'):
            if not getattr(self, name) and not (name == 'backbones' and self.stress):
                raise InputError(f'claims.{name}: expected the {name} of a suite, as in gin/claims/aviary.gin; got none')

    def without_stress_tests(self) -> 'Suite':
        """Return the suite without the backbones that the gate found to be stress tests on its data set (`stress`)."""
        pairs, rows = gate.load(self.evidence.results_dir), self.evidence.rows(dataset=self.dataset)
        stress = []
        for backbone in self.backbones:
            prints = rows[rows.eval_backbone == backbone][['dataset_fingerprint', 'eval_weights']].drop_duplicates()
            found = [gate.verdict(pairs, self.dataset, backbone, data=d, weights=w) for d, w in prints.to_numpy()]
            stress += [backbone] if gate.STRESS_TEST in found else []
        return replace(self, backbones=tuple(b for b in self.backbones if b not in stress), stress=tuple(stress))

    def has_records(self) -> bool:
        """Return whether there are records of its method for the data set and at least one of the backbones."""
        rows = self.evidence.rows(dataset=self.dataset, method=self.method)
        return bool(rows.eval_backbone.isin(list(self.backbones)).any())

    def scores(self, method: str, source: str, tested: str, *, dataset: str = '', protocol: str = '') -> Scores:
        """Return the scores of a cell at one image per class (or full data).

        Raises:
          NotEnough: if there is no record.
        """
        found = self.evidence.scores(
            dataset=dataset or self.dataset, method=method, source_backbone=source, eval_backbone=tested,
            ipc=self.evidence.ipc_of(method, 1), protocol=protocol or self.protocol,
        )
        if found is None:
            origin = '' if source in (tested, ANY_SOURCE) else f' from {source}'
            rules = f', {protocol}' if protocol else ''
            raise NotEnough(f'{method}{origin} on {dataset or self.dataset} x {tested}{rules}')
        return found

    def own(self, method: str, backbone: str, **where: str) -> Estimate:
        """Return the same-model accuracy of a method: its images are tested on the backbone that made or chose them."""
        return self.scores(method, self.evidence.source_of(method, backbone), backbone, **where).accuracy()

    def moved(self, method: str, source: str, tested: str) -> Estimate:
        """Return the accuracy of images made through one backbone and tested on another."""
        return self.scores(method, source, tested).accuracy()

    def average(self, method: str, **where: str) -> Estimate:
        """Return the mean of `own` over the backbones."""
        return mean_of([self.own(method, b, **where) for b in self.backbones])

    def best_real(self, backbone: str, *, dataset: str = '') -> Estimate:
        """Return the accuracy of the best choice of real images, among the baselines and all others with a record."""
        where = {'dataset': dataset or self.dataset, 'protocol': self.protocol, 'eval_backbone': backbone, 'ipc': 1}
        found = [self.own(method, backbone, dataset=dataset) for method in self.baselines]
        for method in self.evidence.real_methods(**where):
            scores = self.evidence.scores(
                method=method, source_backbone=self.evidence.source_of(method, backbone), **where
            )
            found += [scores.accuracy()] if scores else []
        return max(found, key=lambda sample: sample.mean)

    def same(self, variant: str) -> Estimate:
        """Return the same-model accuracy of a variant, mean over the backbones."""
        return mean_of([self.moved(variant, b, b) for b in self.backbones])

    def other(self, variant: str) -> Estimate:
        """Return the cross-model accuracy of a variant, mean over all pairs of backbones."""
        return mean_of([self.moved(variant, s, t) for s, t in self.pairs()])

    def pairs(self) -> list[tuple[str, str]]:
        """Return all (source, eval) pairs of two different backbones.

        Raises:
          NotEnough: if there is only one backbone.
        """
        if len(self.backbones) < 2:
            raise NotEnough('a second backbone')
        return [(s, t) for s in self.backbones for t in self.backbones if s != t]

    def common_methods(self, *protocols: str) -> list[str]:
        """Return the methods with one image per class, and without variants, that have records under all protocols.

        Raises:
          NotEnough: if there are fewer than three.
        """
        where: dict[str, Any] = {'dataset': self.dataset, 'ipc': 1}
        found = [set(self.evidence.named_methods(protocol=protocol, **where)) for protocol in protocols]
        whole = [
            method for method in sorted(set.intersection(*found))
            if all(self._has(method, backbone, protocol) for backbone in self.backbones for protocol in protocols)
        ]  # fmt: skip
        if len(whole) < 3 or self.method not in whole:
            raise NotEnough(f'three methods, {self.method} among them, under {" and ".join(protocols)}')
        return whole

    def _has(self, method: str, backbone: str, protocol: str) -> bool:
        try:
            self.own(method, backbone, protocol=protocol)
        except NotEnough:
            return False
        return True

    def gap_margin(self, backbone: str, *, dataset: str = '') -> Estimate | None:
        """Return by how much more of the way from random images to full data the method goes than the best real images.

        None where that way is below 30 points.
        """
        random, full = self.own('random', backbone, dataset=dataset), self.own('full', backbone, dataset=dataset)
        ours, real = self.own(self.method, backbone, dataset=dataset), self.best_real(backbone, dataset=dataset)
        return recovered_gap(ours - real + random, random=random, full=full)

    def correlations(self) -> pd.DataFrame:
        """Return the correlation of alignment and transfer between the backbones, see `bench.analysis.alignment`.

        Raises:
          NotEnough: if a record, the data set or a backbone is missing.
        """
        if len(self.backbones) < 3:
            raise NotEnough('a third backbone')
        for source, tested in self.pairs():
            self.moved(self.method, source, tested)
        try:
            found = alignment(
                self.evidence, dataset=self.dataset, backbones=self.backbones, method=self.method, protocol=self.protocol
            )
        except InputError as error:
            raise NotEnough(f'the features of {self.dataset} ({error})') from error
        return found.tables['Correlation']

    def distances(self) -> tuple[pd.DataFrame, str]:
        """Return the distances of distilled images from their class mean, and a remark on their origin, '' if computed now.

        If the images are on this machine, the analysis (`bench.analysis.embedding`) is run. Otherwise its committed table is
        read, if it was made from the same distilled sets as the records.

        Raises:
          NotEnough: if images and table are missing, or the data set or a backbone is missing.
        """
        where: dict[str, Any] = {
            'dataset': self.dataset, 'backbones': self.backbones, 'method': self.method, 'protocol': self.protocol,
        }  # fmt: skip
        try:
            sets = self.evidence.sets(ipc=1, seed=0, **where)
        except Missing as error:
            raise NotEnough(f'{self.method}, seed 0, on {self.dataset} through every backbone') from error
        try:
            return embedding(self.evidence, **where).tables['Images'], ''
        except Missing:
            path = self.evidence.results_dir / _IMAGES_TABLE
        except InputError as error:
            raise NotEnough(f'the features of {self.dataset} ({error})') from error
        table = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=['backbone', 'set'])
        for backbone, row in sets.items():
            if 'set' not in table or set(table['set'][table.backbone == backbone]) != {row.distilled_hash}:
                images = f'the images of {self.method} on {self.dataset} x {backbone}'
                raise NotEnough(f'{images}, or {_IMAGES_TABLE} made from them')
        return table, f'; from {_IMAGES_TABLE}, made from the same sets'


@dataclass(frozen=True)
class Claim:
    """One claim: its text, the rule in words, the published result, and the function that decides it by the rule.

    `in_tables` says that the published tables hold all that the rule needs, `variants` that it compares variants of the
    suite's method, for which no other method can stand.
    """

    number: int
    text: str
    rule: str
    published: str | Callable[[Suite], str]
    decide: Callable[[Suite], Verdict]
    in_tables: bool = False
    variants: bool = False

    def published_for(self, suite: Suite) -> str:
        """Return the published result for the data closest to the suite's."""
        return self.published(suite) if callable(self.published) else self.published


def judge(claim: Claim, suite: Suite) -> Verdict:
    """Return the verdict on a claim, UNKNOWN if a record is missing.

    The published method is judged where its records suffice, and the suite's own, a preset, elsewhere.
    """
    try:
        if suite.method != PUBLISHED and not claim.variants:
            with contextlib.suppress(NotEnough):
                return replace(claim.decide(replace(suite, method=PUBLISHED)), of=PUBLISHED)
        return claim.decide(suite)
    except NotEnough as error:
        return Verdict(UNKNOWN, '', f'missing: {error}')


SUITE = Row('claims', Suite, 'a suite that the claims are judged on')

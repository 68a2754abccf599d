"""A suite: the data sets and backbones whose records are judged together, what a claim asks of them, and the verdict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.analysis.alignment import alignment
from bench.analysis.bootstrap import Sample, Scores, mean_of
from bench.analysis.embedding import embedding
from bench.analysis.evidence import Evidence, Missing
from bench.config.registry import Row
from bench.core.errors import InputError
from bench.results.record import ANY_SOURCE

HOLDS, FAILS, UNKNOWN = 'holds', 'does not hold', 'not enough records'
# The choices of real images that the claims name: where one has no record, nothing is best.
BASELINES = ('random', 'centroid', 'herding', 'k_center', 'neighbors')
_IMAGES_TABLE = 'analysis/embedding_images.csv'  # in the results folder


@dataclass(frozen=True)
class Verdict:
    """What came out: `numbers` in words, with intervals."""

    outcome: str
    numbers: str


class NotEnough(Exception):
    """Something that a claim needs has no record; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Data sets and backbones by the labels of their records; gin binds all but `evidence` as `claims.dataset` and so on.

    `coarse` is a data set of the same images with coarser labels, `spurious` one with misleading backgrounds, `distiller`
    the backbone of the DINO family; '' where there is none. `convex` is the protocol that a ranking is compared under.
    `made_by` is the gin file whose run makes the records.
    """

    evidence: Evidence
    name: str = ''
    dataset: str = ''
    backbones: Sequence[str] = ()
    coarse: str = ''
    spurious: str = ''
    distiller: str = ''
    protocol: str = 'paper-v1'
    convex: str = 'ridge-v1'
    made_by: str = ''

    def __post_init__(self) -> None:
        for name in ('name', 'dataset', 'backbones'):
            if not getattr(self, name):
                raise InputError(f'claims.{name}: expected the {name} of a suite, as in gin/claims/embedded.gin; got none')

    def has_records(self) -> bool:
        """Return whether LGM was run on the data set and one of the backbones."""
        rows = self.evidence.rows(dataset=self.dataset, method='lgm')
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

    def own(self, method: str, backbone: str, **where: str) -> Sample:
        """Return the accuracy of a method's images on the backbone they were made or chosen through."""
        return self.scores(method, self.evidence.source_of(method, backbone), backbone, **where).accuracy()

    def moved(self, method: str, source: str, tested: str) -> Sample:
        """Return the accuracy of images made through one backbone on another."""
        return self.scores(method, source, tested).accuracy()

    def average(self, method: str, **where: str) -> Sample:
        """Return the mean of `own` over the backbones."""
        return mean_of([self.own(method, b, **where) for b in self.backbones])

    def best_real(self, backbone: str, *, dataset: str = '') -> Sample:
        """Return the most accurate choice of real images: of those that the claims name, and of all others with a record."""
        where = {'dataset': dataset or self.dataset, 'protocol': self.protocol, 'eval_backbone': backbone, 'ipc': 1}
        found = [self.own(method, backbone, dataset=dataset) for method in BASELINES]
        for method in self.evidence.real_methods(**where):
            scores = self.evidence.scores(
                method=method, source_backbone=self.evidence.source_of(method, backbone), **where
            )
            found += [scores.accuracy()] if scores else []
        return max(found, key=lambda figure: figure.mean)

    def same(self, variant: str) -> Sample:
        """Return the accuracy of a variant on the backbones that its images were made through."""
        return mean_of([self.moved(variant, b, b) for b in self.backbones])

    def other(self, variant: str) -> Sample:
        """Return the accuracy of a variant on the other backbones."""
        return mean_of([self.moved(variant, s, t) for s, t in self.pairs()])

    def pairs(self) -> list[tuple[str, str]]:
        """Return all (source, eval) of two different backbones.

        Raises:
          NotEnough: if there is only one.
        """
        if len(self.backbones) < 2:
            raise NotEnough('a second backbone')
        return [(s, t) for s in self.backbones for t in self.backbones if s != t]

    def correlations(self) -> pd.DataFrame:
        """Return how alignment of the backbones and transfer between them correlate, see `bench.analysis.alignment`.

        Raises:
          NotEnough: if a record, the data set or a backbone is not here.
        """
        if len(self.backbones) < 3:
            raise NotEnough('a third backbone')
        for source, tested in self.pairs():
            self.moved('lgm', source, tested)
        try:
            found = alignment(self.evidence, dataset=self.dataset, backbones=self.backbones, protocol=self.protocol)
        except InputError as error:
            raise NotEnough(f'the features of {self.dataset} ({error})') from error
        return found.tables['Correlation']

    def distances(self) -> tuple[pd.DataFrame, str]:
        """Return how far distilled images lie from their class mean, and where it is known from, in words.

        The analysis (`bench.analysis.embedding`) is run where the images are. Elsewhere its table counts, if its sets are
        those of the records.

        Raises:
          NotEnough: if there is neither, or the data set or a backbone is not here.
        """
        where: dict[str, Any] = {'dataset': self.dataset, 'backbones': self.backbones, 'protocol': self.protocol}
        try:
            sets = self.evidence.sets(method='lgm', ipc=1, seed=0, **where)
        except Missing as error:
            raise NotEnough(f'lgm, seed 0, on {self.dataset} through every backbone') from error
        try:
            return embedding(self.evidence, **where).tables['Images'], ''
        except Missing:
            path = self.evidence.results_dir / _IMAGES_TABLE
        except InputError as error:
            raise NotEnough(f'the features of {self.dataset} ({error})') from error
        table = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=['backbone', 'set'])
        for backbone, row in sets.items():
            if 'set' not in table or set(table['set'][table.backbone == backbone]) != {row.distilled_hash}:
                raise NotEnough(f'the images of lgm on {self.dataset} x {backbone}, or {_IMAGES_TABLE} made of them')
        return table, f'; from {_IMAGES_TABLE}, made of the same sets'


@dataclass(frozen=True)
class Claim:
    """One claim: what is said, how it is decided, what was published (or a function of the suite), and who decides."""

    number: int
    text: str
    test: str
    published: str | Callable[[Suite], str]
    decide: Callable[[Suite], Verdict]

    def published_for(self, suite: Suite) -> str:
        """Return what was published on the nearest to a suite's data."""
        return self.published(suite) if callable(self.published) else self.published


def judge(claim: Claim, suite: Suite) -> Verdict:
    """Return the verdict on a claim, UNKNOWN where a record is missing."""
    try:
        return claim.decide(suite)
    except NotEnough as error:
        return Verdict(UNKNOWN, f'missing: {error}')


SUITE = Row('claims', Suite, 'a suite that the claims are judged on')

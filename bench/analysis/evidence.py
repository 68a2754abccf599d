"""The input of analyses: the records of a results folder, its distilled sets, and features of the feature store.

Shape suffixes: N images, D feature width.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.core.errors import InputError
from bench.results.record import ANY_SOURCE, Record
from bench.results.statistics import Estimate, Scores, scores_of
from bench.results.store import load, load_table

OTHERS = '*'  # in a list of methods: all other methods
_NAMED = 4  # number of missing cells listed in the message
# (method, source backbone, eval backbone) -> accuracy
Accuracies = dict[tuple[str, str, str], Estimate]


class Missing(InputError):
    """Records or distilled sets are missing. The message names them and the command that makes them."""


@dataclass(frozen=True)
class Loaders:
    """Functions that load data and backbones by name. They are provided by a command and called on first use.

    `store()` returns the feature store, `protocol(name)` a function from a probe task to its score.
    """

    dataset: Callable[[str], Any]
    backbone: Callable[[str, Any], Any]
    store: Callable[[], Any]
    protocol: Callable[[str], Callable[[Any], Any]]


@dataclass
class Evidence:
    """Read-only access to the results of runs.

    `made_by` is the gin file of the run that makes missing records. `load` is not needed for analyses of records alone.
    """

    results_dir: Path
    made_by: str = ''
    load: Loaders | None = None
    _scores: dict[tuple[str, ...], Scores] = field(default_factory=dict)

    @cached_property
    def table(self) -> Any:
        """Finished hard-label records as a data frame, see `store.load_table`."""
        table, _ = self._read
        return table[(table.status == 'ok') & (table.labels == 'hard')]

    @property
    def problems(self) -> list[str]:
        """One message for each file that is no readable record, and is therefore left out."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[Any, list[str]]:
        return load_table(self.results_dir)

    @cached_property
    def _facts(self) -> dict[str, dict[str, bool]]:
        first = self.table.drop_duplicates('method').set_index('method')
        return first[['real', 'needs_backbone', 'needs_ipc']].to_dict('index')

    def source_of(self, method: str, backbone: str) -> str:
        """Return the source backbone of a method's same-model records: `backbone`, or 'any' if it uses no backbone."""
        return backbone if self._facts.get(method, {}).get('needs_backbone', True) else ANY_SOURCE

    def sources_of(self, method: str, backbones: Sequence[str]) -> Sequence[str]:
        """Return the source backbones of a method's records: all given ones, or 'any' if it uses no backbone."""
        return tuple(dict.fromkeys(self.source_of(method, backbone) for backbone in backbones))

    def ipc_of(self, method: str, ipc: int) -> int | None:
        """Return the images per class of a method's records: `ipc`, or None if the method takes all training images."""
        return ipc if self._facts.get(method, {}).get('needs_ipc', True) else None

    def real_methods(self, **where: Any) -> list[str]:
        """Return the methods with matching records (see `rows`) that choose a subset of the real images."""
        return [name for name in self._methods(**where) if self._facts[name]['real'] and self._facts[name]['needs_ipc']]

    def named_methods(self, **where: Any) -> list[str]:
        """Return the methods with matching records (see `rows`), without full data and without variants (`label=name`)."""
        named = self.table.method[self.table.method == self.table.method_name]
        return [name for name in self._methods(**where) if self._facts[name]['needs_ipc'] and name in set(named)]

    def variants_of(self, method: str, **where: Any) -> list[str]:
        """Return the labels with matching records (see `rows`) that are variants of a method."""
        names = set(self.table.method_name[self.table.method == method])
        variants = set(self.table.method[self.table.method_name.isin(names)]) - {method}
        return [name for name in self._methods(**where) if name in variants]

    def _methods(self, **where: Any) -> list[str]:
        return sorted(set(self.rows(**where).method))

    def rows(self, **where: Any) -> Any:
        """Return the records whose columns have the given values. `ipc=None` selects records without ipc."""
        wanted = np.ones(len(self.table), dtype=bool)
        for name, value in where.items():
            column = self.table[name]
            wanted &= (column.isna() if value is None else column.eq(value).fillna(False)).to_numpy(dtype=bool)
        return self.table[wanted]

    def seeds(self, **where: Any) -> Any:
        """Return the records of a method under one condition, one per seed; see `rows`.

        Raises:
          InputError: if there are several records for one seed, because the choice would be ambiguous.
        """
        found = self.rows(**where)
        twice = found[found.duplicated('seed', keep=False)].sort_values('seed', kind='stable')
        if len(twice):
            paths = ' and '.join(twice.path.iloc[:2])
            raise InputError(f'two records of one cell and seed, {paths}: keep one, or use separate results folders')
        return found

    def scores(self, **where: Any) -> Scores | None:
        """Return the scores of a method under one condition over its seeds, or None if there is no record.

        Raises:
          InputError: as for `seeds`.
        """
        found = self.seeds(**where)
        return self.scores_of_rows(found) if len(found) else None

    def scores_of_rows(self, rows: Any) -> Scores:
        """Return the scores of records, one per method seed."""
        key = tuple(rows.path)
        if key not in self._scores:
            self._scores[key] = scores_of(list(rows.scored))
        return self._scores[key]

    def matrix(
        self, methods: Sequence[str], backbones: Sequence[str], *, dataset: str, ipc: int, protocol: str
    ) -> tuple[Accuracies, dict[str, list[str]]]:
        """Return the accuracies of methods for all pairs of backbones, and a description of each method's missing cells."""
        found: Accuracies = {}
        missing: dict[str, list[str]] = {name: [] for name in methods}
        for method in methods:
            size = self.ipc_of(method, ipc)
            for tested in backbones:
                for source in self.sources_of(method, backbones):
                    scores = self.scores(
                        dataset=dataset, method=method, source_backbone=source, eval_backbone=tested, ipc=size,
                        protocol=protocol,
                    )  # fmt: skip
                    if scores is None:
                        missing[method].append(cell_name(dataset, method, source, tested, size))
                    else:
                        found[method, source, tested] = scores.accuracy()
        return found, missing

    def record(self, path: str) -> Record:
        """Return the record at a path."""
        return load(path)

    def require(self, missing: Iterable[str]) -> None:
        """Check that no cell is missing.

        Raises:
          Missing: if a cell is missing; the message names the cells and the command that makes them.
        """
        missing = list(missing)
        if missing:
            more = f' and {len(missing) - _NAMED} more' if len(missing) > _NAMED else ''
            command = f'python -m bench.run --gin_file={self.made_by} --results_dir={self.results_dir}'
            raise Missing(
                f'{len(missing)} of the required cells have no record in {self.results_dir}: '
                f'{"; ".join(missing[:_NAMED])}{more}. Make them: {command}'
            )

    @property
    def _loaders(self) -> Loaders:
        assert self.load is not None, 'this analysis reads more than records'
        return self.load

    # --- data, backbones, distilled sets: these import torch -------------------------------------------------------------

    def dataset(self, name: str) -> Any:
        """Return a data set by name."""
        return self._loaders.dataset(name)

    def backbone(self, name: str, dataset: Any) -> Any:
        """Return a backbone by name, for the images of a data set."""
        return self._loaders.backbone(name, dataset)

    def features(self, split: Any, backbone: Any) -> Any:
        """Return features f_ND of a split in the test view, from the feature store."""
        from bench.features.views import CenterView

        return self._loaders.store().features(split, backbone, CenterView(backbone.input_side, backbone.interpolation))[0]

    def probe(self, protocol: str, **task: Any) -> Any:
        """Train and test a probe by a protocol and return its score. `task`: the fields of `ProbeTask` without `store`."""
        from bench.probes.task import ProbeTask

        return self._loaders.protocol(protocol)(ProbeTask(**task, store=self._loaders.store()))

    def distilled_sets(
        self, dataset: str, method: str, backbones: Sequence[str], *, ipc: int, seed: int, protocol: str
    ) -> dict[str, Any]:
        """Return the distilled sets that a method made through each backbone.

        Raises:
          Missing: if a record or a set is missing.
        """
        rows = self.sets(dataset, method, backbones, ipc=ipc, seed=seed, protocol=protocol)
        return {name: self.distilled(row) for name, row in rows.items()}

    def sets(
        self, dataset: str, method: str, backbones: Sequence[str], *, ipc: int, seed: int, protocol: str
    ) -> dict[str, Any]:
        """Return the records (rows of `table`) of the sets that a method made through each backbone.

        Raises:
          Missing: if a record is missing.
        """
        found = {
            name: self.seeds(
                dataset=dataset, method=method, source_backbone=name, eval_backbone=name, ipc=ipc, seed=seed,
                protocol=protocol,
            )
            for name in backbones
        }  # fmt: skip
        self.require(cell_name(dataset, method, name, name, ipc) for name, rows in found.items() if not len(rows))
        return {name: rows.iloc[0] for name, rows in found.items()}

    def distilled(self, row: Any) -> Any:
        """Return the distilled set of a record (a row of `table`).

        Raises:
          Missing: if its folder is not in the results folder.
        """
        from bench.distillation import distilled_set

        cell = {
            'dataset': row.dataset, 'source': row.source_backbone, 'method': row.method, 'seed': row.seed,
            'ipc': None if pd.isna(row.ipc) else row.ipc,
        }  # fmt: skip
        found = distilled_set.find(self.results_dir, digest=row.distilled_hash, **cell)
        if found is not None:
            return found
        folder = distilled_set.folder_of(self.results_dir, **cell, made_from='').parent
        raise Missing(
            f'the analysis needs the images of {row.method} on {row.dataset} x {row.source_backbone}, seed {row.seed}, but '
            f'{folder} does not hold them (records are committed, images are not). Make both in another results folder, and '
            f'analyse that folder: python -m bench.run --gin_file={self.made_by} --results_dir=out/suite'
        )


def check_backbones(backbones: Sequence[str], *, least: int, analysis: str) -> None:
    """Check that there are enough backbones for an analysis.

    Raises:
      InputError: if there are too few; the message names the setting.
    """
    if len(backbones) < least:
        raise InputError(f'{analysis}.backbones: expected {least} or more, got {list(backbones)}')


def with_others(asked: Sequence[str], others: Iterable[str]) -> list[str]:
    """Return the requested names without duplicates, with OTHERS replaced by all other names."""
    rest = [name for name in others if name not in asked] if OTHERS in asked else []
    return list(dict.fromkeys(name for word in asked for name in (rest if word == OTHERS else [word])))


def short_name(backbone: str) -> str:
    """Return a shortened name of a backbone for plots and lists."""
    return backbone.removeprefix('tiny_').removeprefix('wild_').partition('_vit')[0]


def cell_name(dataset: str, method: str, source: str, tested: str, ipc: int | None = 1) -> str:
    """Describe a cell in words, for messages."""
    origin = '' if source in (tested, ANY_SOURCE) else f' from {source}'
    return f'{dataset} x {tested}: {method}{origin}' + (f' ipc {ipc}' if ipc else '')

"""What analyses read: the records of a results folder, the distilled sets beside them, features of the feature store.

Shape suffixes: N images, D feature width.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.bootstrap import Sample, Scores, scores_of
from bench.core.errors import InputError
from bench.results.record import ANY_SOURCE, Record
from bench.results.store import load, load_table

OTHERS = '*'  # among names of methods: all others that there are
_NAMED = 4  # missing cells named in the message
# (method, source backbone, eval backbone) -> accuracy
Accuracies = dict[tuple[str, str, str], Sample]


class Missing(InputError):
    """Records or distilled sets that an analysis needs are not there; the message names them and the command."""


@dataclass(frozen=True)
class Loaders:
    """What loads data and backbones by name. A command hands it in; each is called when first needed.

    `store()` returns the feature store, `protocol(name)` a function from a task of a probe to its score.
    """

    dataset: Callable[[str], Any]
    backbone: Callable[[str], Any]
    store: Callable[[], Any]
    protocol: Callable[[str], Callable[[Any], Any]]


@dataclass
class Evidence:
    """The results of runs, read only.

    `made_by` is the gin file whose run makes what is missing. Analyses of records alone need no `load`.
    """

    results_dir: Path
    made_by: str = ''
    load: Loaders | None = None
    _scores: dict[tuple[str, ...], Scores] = field(default_factory=dict)

    @cached_property
    def table(self) -> Any:
        """Finished hard-label records as a data frame, see `store.load_table`."""
        table, _ = load_table(self.results_dir)
        return table[(table.status == 'ok') & (table.labels == 'hard')]

    @cached_property
    def _facts(self) -> dict[str, dict[str, bool]]:
        first = self.table.drop_duplicates('method').set_index('method')
        return first[['real', 'needs_backbone', 'needs_ipc']].to_dict('index')

    def source_of(self, method: str, backbone: str) -> str:
        """Return the source backbone in the records of a method's own images: 'any' where it looks at none."""
        return backbone if self._facts.get(method, {}).get('needs_backbone', True) else ANY_SOURCE

    def sources_of(self, method: str, backbones: Sequence[str]) -> Sequence[str]:
        """Return the source backbones of a method's records: all, or 'any' where it looks at none."""
        return tuple(dict.fromkeys(self.source_of(method, backbone) for backbone in backbones))

    def ipc_of(self, method: str, ipc: int) -> int | None:
        """Return the images per class in the records of a method: None where it takes all there are."""
        return ipc if self._facts.get(method, {}).get('needs_ipc', True) else None

    def real_methods(self, **where: Any) -> list[str]:
        """Return the methods with records there (see `rows`) that choose some of the real images."""
        return [name for name in self._methods(**where) if self._facts[name]['real'] and self._facts[name]['needs_ipc']]

    def named_methods(self, **where: Any) -> list[str]:
        """Return the methods with records there, without full data and without variants: labels of another method's."""
        named = self.table.method[self.table.method == self.table.method_name]
        return [name for name in self._methods(**where) if self._facts[name]['needs_ipc'] and name in set(named)]

    def variants_of(self, method: str, **where: Any) -> list[str]:
        """Return the labels with records there that are the same method with other settings."""
        names = set(self.table.method_name[self.table.method == method])
        variants = set(self.table.method[self.table.method_name.isin(names)]) - {method}
        return [name for name in self._methods(**where) if name in variants]

    def _methods(self, **where: Any) -> list[str]:
        return sorted(set(self.rows(**where).method))

    def rows(self, **where: Any) -> Any:
        """Return the records whose columns have these values; `ipc=None` means records without one."""
        wanted = np.ones(len(self.table), dtype=bool)
        for name, value in where.items():
            column = self.table[name]
            wanted &= (column.isna() if value is None else column.eq(value).fillna(False)).to_numpy(dtype=bool)
        return self.table[wanted]

    def seeds(self, **where: Any) -> Any:
        """Return the records of a method in one place, one for each seed; see `rows`.

        Raises:
          InputError: if records of one seed differ in their settings: nobody can tell which is meant.
        """
        found = self.rows(**where)
        twice = found[found.duplicated('seed', keep=False)].sort_values('seed', kind='stable')
        if len(twice):
            paths = ' and '.join(twice.path.iloc[:2])
            raise InputError(f'two records answer one question, {paths}: keep one, or analyse results folders of their own')
        return found

    def scores(self, **where: Any) -> Scores | None:
        """Return the scores of a method in one place over its seeds, None where there is no record.

        Raises:
          InputError: as `seeds`.
        """
        found = self.seeds(**where)
        return self.scores_of_rows(found) if len(found) else None

    def scores_of_rows(self, rows: Any) -> Scores:
        """Return the scores of some records, one method seed each."""
        key = tuple(rows.path)
        if key not in self._scores:
            self._scores[key] = scores_of(key)
        return self._scores[key]

    def matrix(
        self, methods: Sequence[str], backbones: Sequence[str], *, dataset: str, ipc: int, protocol: str
    ) -> tuple[Accuracies, dict[str, list[str]]]:
        """Return the accuracies of methods through and on all backbones, and of each method the missing cells, in words."""
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
        """Return a whole record."""
        return load(path)

    def require(self, missing: Iterable[str]) -> None:
        """Check that nothing is missing.

        Raises:
          Missing: naming cells and the command that makes them.
        """
        missing = list(missing)
        if missing:
            more = f' and {len(missing) - _NAMED} more' if len(missing) > _NAMED else ''
            command = f'python -m bench.run --gin_file={self.made_by} --results_dir={self.results_dir}'
            raise Missing(
                f'{len(missing)} of the cells it needs have no record in {self.results_dir}: '
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

    def backbone(self, name: str) -> Any:
        """Return a backbone by name."""
        return self._loaders.backbone(name)

    def features(self, split: Any, backbone: Any) -> Any:
        """Return features f_ND of a split in the test view, from the feature store."""
        from bench.features.views import CenterView

        return self._loaders.store().features(split, backbone, CenterView(backbone.input_side, backbone.interpolation))[0]

    def probe(self, protocol: str, **task: Any) -> Any:
        """Return the score of a probe that a protocol trains; `task` is what `ProbeTask` takes beside the store."""
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
          Missing: if one is missing.
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
        place = distilled_set.folder_of(self.results_dir, **cell, made_from='').parent
        raise Missing(
            f'it needs the images of {row.method} on {row.dataset} x {row.source_backbone}, seed {row.seed}, and '
            f'{place} does not hold them (images are not committed, records are). Make both in a folder of their own, and '
            f'analyse that: python -m bench.run --gin_file={self.made_by} --results_dir=out/suite'
        )


def check_backbones(backbones: Sequence[str], *, least: int, analysis: str) -> None:
    """Check that there are enough backbones for an analysis.

    Raises:
      InputError: naming the setting.
    """
    if len(backbones) < least:
        raise InputError(f'{analysis}.backbones: expected at least {least} of them, got {list(backbones)}')


def with_others(asked: Sequence[str], others: Iterable[str]) -> list[str]:
    """Return the names that were asked for, each once; OTHERS stands for the rest."""
    rest = [name for name in others if name not in asked] if OTHERS in asked else []
    return list(dict.fromkeys(name for word in asked for name in (rest if word == OTHERS else [word])))


def short_name(backbone: str) -> str:
    """Return a backbone's name without what all have in common, for figures and lists."""
    return backbone.removeprefix('tiny_').partition('_vit')[0]


def cell_name(dataset: str, method: str, source: str, tested: str, ipc: int | None = 1) -> str:
    """Return a cell in words, for messages."""
    origin = '' if source in (tested, ANY_SOURCE) else f' from {source}'
    return f'{dataset} x {tested}: {method}{origin}' + (f' ipc {ipc}' if ipc else '')

"""What analyses read: the records of a results folder, the distilled sets beside them, features of the feature store.

Shape suffixes: N images, D feature width.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench.analysis.bootstrap import Scores, scores_of
from bench.core.errors import InputError
from bench.results.record import ANY_SOURCE, Record
from bench.results.store import load, load_table, safe_name

_NAMED = 4  # missing cells named in the message


class Missing(InputError):
    """Records or distilled sets that an analysis needs are not there; the message names them and the command."""


@dataclass
class Evidence:
    """The results of runs, read only.

    `made_by` is the gin file whose run makes what is missing. `bench_for` makes the `Bench` of the pipeline that loads
    data sets and backbones; it is called when first needed, because most analyses read records only. `choose(kind, name)`
    resolves a name to an entry of the registry with its settings (`bench.config.gin_files.Config.choose`).
    """

    results_dir: Path
    made_by: str = ''
    bench_for: Callable[[], Any] | None = None
    choose: Callable[[str, str], Any] | None = None
    _scores: dict[tuple[str, ...], Scores] = field(default_factory=dict)

    @cached_property
    def table(self) -> Any:
        """Finished hard-label records as a data frame, see `store.load_table`."""
        table, _ = load_table(self.results_dir)
        return table[(table.status == 'ok') & (table.labels == 'hard')]

    @cached_property
    def bench(self) -> Any:
        return self.bench_for()

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

    # --- data, backbones, distilled sets: these import torch -------------------------------------------------------------

    def dataset(self, name: str) -> Any:
        """Return a data set by name."""
        return self.bench.dataset(self.choose('dataset', name))

    def backbone(self, name: str) -> Any:
        """Return a backbone by name."""
        return self.bench.backbone(self.choose('backbone', name))

    def features(self, split: Any, backbone: Any) -> Any:
        """Return features f_ND of a split in the test view, from the feature store."""
        from bench.features.views import CenterView

        return self.bench.store.features(split, backbone, CenterView(backbone.input_side, backbone.interpolation))[0]

    def distilled_sets(
        self, dataset: str, method: str, backbones: Sequence[str], *, ipc: int, seed: int, protocol: str
    ) -> dict[str, Any]:
        """Return the distilled sets that a method made through each backbone.

        Raises:
          Missing: if a record or a set is missing.
        """
        found = {
            name: self.seeds(
                dataset=dataset, method=method, source_backbone=name, eval_backbone=name, ipc=ipc, seed=seed,
                protocol=protocol,
            )
            for name in backbones
        }  # fmt: skip
        self.require(cell_name(dataset, method, name, name, ipc) for name, rows in found.items() if not len(rows))
        return {name: self.distilled(rows.iloc[0]) for name, rows in found.items()}

    def distilled(self, row: Any) -> Any:
        """Return the distilled set of a record (a row of `table`).

        Raises:
          Missing: if its folder is not in the results folder.
        """
        from bench.distillation.distilled_set import DistilledSet

        names = (row.dataset, row.source_backbone, row.method)
        place = Path(self.results_dir, 'distilled', *map(safe_name, names))
        for folder in sorted(place.glob(f'*seed{row.seed}-*')):
            if folder.suffix != '.checkpoint' and (found := DistilledSet.load(folder)).hash == row.distilled_hash:
                return found
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


def source_of(method: str, backbone: str) -> str:
    """Return the source backbone in the records of a method's own images: 'any' where it looks at none."""
    return ANY_SOURCE if method in ('random', 'full') else backbone


def ipc_of(method: str, ipc: int) -> int | None:
    """Return the images per class in a method's records: None where it takes all there are."""
    return None if method == 'full' else ipc


def short_name(backbone: str) -> str:
    """Return a backbone's name without what all have in common, for figures and lists."""
    return backbone.removeprefix('tiny_').partition('_vit')[0]


def cell_name(dataset: str, method: str, source: str, tested: str, ipc: int | None = 1) -> str:
    """Return a cell in words, for messages."""
    origin = '' if source in (tested, ANY_SOURCE) else f' from {source}'
    return f'{dataset} x {tested}: {method}{origin}' + (f' ipc {ipc}' if ipc else '')

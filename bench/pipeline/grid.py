"""The grid: turns the bound lists into the cells of a run, each with its key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from bench.config import registry
from bench.config import source as source_code
from bench.config.gin_files import Choice, Config
from bench.config.registry import Row
from bench.core.errors import InputError
from bench.core.hashing import short_hash
from bench.distillation.task import Needs, needs_of
from bench.features.store import version as features
from bench.results.record import ANY_SOURCE


@dataclass(frozen=True)
class Cell:
    """One combination of the grid: one measurement, with one record.

    `source` is None for a method that uses no backbone. `ipc` is None for a method without images per class. `of` is the
    method whose distilled set this method starts from, if any.
    """

    dataset: Choice
    method: Choice
    source: Choice | None
    eval: Choice
    ipc: int | None
    seed: int
    protocol: Choice
    of: Choice | None = None

    @cached_property
    def config(self) -> dict[str, Any]:
        """The full configuration. The key is its hash, and the record stores it."""
        return {
            **self.distilled_config,
            'eval_backbone': self.eval.label,
            'eval_name': self.eval.name,
            'eval_settings': self.eval.lasting,
            'protocol': self.protocol_label,
            'protocol_settings': self.protocol.lasting,
            'protocol_hash': self.protocol_hash,
            **_code({**self._distilled_code, **self._probe_code, 'eval': self.eval.code}),
        }

    @property
    def distilled_config(self) -> dict[str, Any]:
        """The part of the configuration that the distilled set depends on."""
        return {
            'dataset': self.dataset.label,
            'dataset_name': self.dataset.name,
            'dataset_settings': self.dataset.lasting,
            'method': self.method.label,
            'method_name': self.method.name,
            'method_settings': _lasting(self.method),
            'source_backbone': self.source.label if self.source else ANY_SOURCE,
            'source_name': self.source.name if self.source else None,
            'source_settings': self.source.lasting if self.source else None,
            'ipc': self.ipc,
            'seed': self.seed,
            # absent for other methods, so that their keys do not change
            **({'of': {'label': self.of.label, 'name': self.of.name, 'settings': _lasting(self.of)}} if self.of else {}),
            **_code(self._distilled_code),
        }

    @property
    def method_facts(self) -> dict[str, bool]:
        """The method facts of the record. The needs of the method that this one starts from are included."""
        needs = _needs(self.method, self.of)
        return {'real': needs.real, **{f'needs_{name}': getattr(needs, name) for name in ('backbone', 'seed', 'ipc')}}

    @property
    def code_facts(self) -> dict[str, dict[str, Any]]:
        """The code facts of the record: of the method, of the protocol and of every plug-in."""
        parts = {
            'dataset': self.dataset, 'method': self.method, 'of': self.of, 'source': self.source, 'eval': self.eval,
            'protocol': self.protocol,
        }  # fmt: skip
        facts = {name: source_code.facts_of(choice.row) for name, choice in parts.items() if choice}
        return {name: each for name, each in facts.items() if name in ('method', 'of', 'protocol') or 'file' in each}

    @property
    def _distilled_code(self) -> dict[str, str]:
        parts = {'dataset': self.dataset, 'method': self.method, 'of': self.of, 'source': self.source}
        made_by = {name: choice.code for name, choice in parts.items() if choice}
        return {**made_by, 'features': features()} if self.source else made_by

    @property
    def _probe_code(self) -> dict[str, str]:
        return {'protocol': self.protocol.code, 'features': features()}

    @property
    def backbones(self) -> tuple[Choice, ...]:
        """The source backbone, if any, and the eval backbone."""
        return tuple(choice for choice in (self.source, self.eval) if choice)

    @property
    def source_cell(self) -> 'Cell | None':
        """The cell whose distilled set this cell's method starts from, or None."""
        if self.of is None:
            return None
        needs = needs_of(self.of.row.load())
        return replace(
            self, method=self.of, of=None, source=self.source if needs.backbone else None,
            ipc=self.ipc if needs.ipc else None, seed=self.seed if needs.seed else 0,
        )

    def check(self, input_side: int | None) -> None:
        """Check the settings of the cell's methods.

        Args:
          input_side: input of the source backbone in pixels, None if not known yet.

        Raises:
          InputError: if settings are incompatible.
        """
        for method in filter(None, (self.of, self.method)):
            needs_of(method.row.load()).check(method.settings, name=method.bound_as, input_side=input_side)

    @cached_property
    def key(self) -> str:
        return short_hash(self.config)

    @cached_property
    def distilled_key(self) -> str:
        return short_hash(self.distilled_config)

    @cached_property
    def protocol_hash(self) -> str:
        from bench.probes.task import PROBE_VERSION

        row = self.protocol.row
        return short_hash({
            'version': PROBE_VERSION, 'rules': row.rules or row.name, 'settings': self.protocol.lasting,
            **_code(self._probe_code),
        })  # fmt: skip

    @cached_property
    def protocol_label(self) -> str:
        """The protocol's label, with a part of its hash if its settings differ from the official ones."""
        changed = self.protocol.settings != self.protocol.row.defaults()
        return f'{self.protocol.label}+{self.protocol_hash[:6]}' if changed else self.protocol.label

    def __str__(self) -> str:
        source = f' from {self.source.label}' if self.source and self.source.label != self.eval.label else ''
        size = f' ipc {self.ipc}' if self.ipc else ''
        seed = f' seed {self.seed}' if _needs(self.method, self.of).seed else ''
        return f'{self.dataset.label} x {self.eval.label}: {self.method.label}{source}{size}{seed}, {self.protocol_label}'


def cells(
    config: Config,
    *,
    datasets: Sequence[str] | str = (),
    backbones: Sequence[str] | str = (),
    eval_backbones: Sequence[str] | str | None = None,
    methods: Sequence[str] | str = (),
    ipc: Sequence[int] | int = (1,),
    seeds: Sequence[int] | int = (0,),
    seeds_for: Mapping[str, Sequence[int]] | None = None,
    protocol: Sequence[str] | str = 'paper-v1',
    follow: str = '',
) -> list[Cell]:
    """Return the cells of the grid without duplicates. Axes that a method does not use (seed, ipc, backbone) are not varied.

    Args:
      config: resolves names to settings.
      datasets: names of data sets.
      backbones: names of source backbones, which the methods use.
      eval_backbones: names of backbones on which probes are trained and tested; None uses the source backbone of each cell.
      methods: names of methods.
      ipc: images per class, each at least 1.
      seeds: method seeds.
      seeds_for: by method label, other seeds for this method and for methods that start from its images.
      protocol: one name or several.
      follow: the method whose schedule is used by all methods that follow another one (FOLLOWS), such as 'lgm' to compare
        rivals under the released schedule; '' takes the one that each declares. Variants keep theirs.

    Raises:
      InputError: if an axis is empty, a name is unknown, a setting is out of range, or one label has two meanings.
    """
    sources = [config.choose('backbone', name) for name in _axis('backbones', backbones)]
    evals = sources
    if eval_backbones is not None:
        evals = [config.choose('backbone', name) for name in _axis('eval_backbones', eval_backbones)]
    sizes, method_seeds = _integers('ipc', ipc, low=1), _integers('seeds', seeds, low=0)
    protocols = [config.choose('protocol', name) for name in _axis('protocol', protocol)]
    if follow:
        registry.find('method', follow)  # an unknown name is an error even if none of the methods follows another
    chosen_methods = [config.choose('method', name, follow=follow) for name in _axis('methods', methods)]
    chosen_datasets = [config.choose('dataset', name) for name in _axis('datasets', datasets)]
    starts = {method.label: _start_of(config, method, chosen_methods, follow=follow) for method in chosen_methods}
    for axis in (chosen_datasets, [*sources, *evals], [*chosen_methods, *filter(None, starts.values())], protocols):
        _check_labels(axis)
    own_seeds = _own_seeds(seeds_for or {}, chosen_methods)
    found: dict[str, Cell] = {}
    for dataset in chosen_datasets:
        # methods that others start from come first, so that their curves and pictures are logged while they are made
        for method in sorted(chosen_methods, key=lambda method: starts[method.label] is not None):
            start = starts[method.label]
            needs = _needs(method, start)
            # same seeds as the method that it starts from, so that this (often slow) method is not run for further seeds
            inherited = own_seeds.get(start.label, method_seeds) if start else method_seeds
            pairs: list[tuple[Choice | None, Choice]] = [(None, e) for e in evals]
            if needs.backbone:
                pairs = [(s, e) for s in sources for e in (evals if eval_backbones is not None else [s])]
            for size in sizes if needs.ipc else [None]:
                for seed in own_seeds.get(method.label, inherited) if needs.seed else [0]:
                    for source, tested in pairs:
                        for rules in protocols:
                            cell = Cell(dataset, method, source, tested, size, seed, rules, start)
                            found.setdefault(cell.key, cell)
    return list(found.values())


RUN = Row('run', cells, 'the grid: the axes that are combined into cells')


def grid(config: Config) -> list[Cell]:
    """Return the cells of the bound `run`, and check that every binding is used.

    Args:
      config: loaded for the command RUN.

    Raises:
      InputError: as for `cells`, and if a binding is unused or settings of a method are incompatible.
    """
    found = cells(config, **config.command_settings())
    config.check_all_used(
        chosen_in='run.methods, run.datasets, run.backbones or run.protocol', narrowed_by=RUN.name
    )
    for cell in found:
        cell.check(cell.source.input_side if cell.source else None)
    return found


def _code(parts: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return the code part of a key. It is empty if all code is built in and at its first version."""
    said = {name: code for name, code in parts.items() if code}
    return {'code': said} if said else {}


def _lasting(method: Choice) -> dict[str, Any]:
    """Return `Choice.lasting` without the settings that affect only the cost."""
    passing = needs_of(method.row.load()).cost_only
    return {key: value for key, value in method.lasting.items() if key not in passing}


def _start_of(config: Config, method: Choice, chosen: list[Choice], *, follow: str) -> Choice | None:
    """Return the method whose distilled set `method` starts from, given by the label of a chosen method or any name.

    Raises:
      InputError: if this method is unknown, chooses real images, or itself starts from another method.
    """
    of = needs_of(method.row.load()).of
    if of is None:
        return None
    name = of(method.settings)
    try:
        start = next((m for m in chosen if m.label == name), None) or config.choose('method', name, follow=follow)
    except InputError as error:
        raise InputError(f'{method.label} starts from the images of another method: {error}') from error
    theirs = needs_of(start.row.load())
    if theirs.real or theirs.of:
        makes = 'chooses real images' if theirs.real else 'itself starts from the images of another method'
        got = 'itself' if start == method else f'{name!r}, which {makes}'
        raise InputError(
            f'{method.label} starts from the images of another method: expected one that makes its own images, got {got}'
        )
    return start


def _needs(method: Choice, start: Choice | None) -> Needs:
    """Return what a method needs, including the needs of the method that it starts from."""
    own = needs_of(method.row.load())
    if start is None:
        return own
    theirs = needs_of(start.row.load())
    both = {name: getattr(own, name) or getattr(theirs, name) for name in ('backbone', 'seed', 'ipc')}
    return replace(own, **both)


def _axis(name: str, value: Sequence[str] | str) -> list[str]:
    values = [value] if isinstance(value, str) else list(value)
    if not values:
        raise InputError(f'run.{name} is empty: bind at least one name, such as run.{name} = [...] in the gin file')
    return values


def _check_labels(choices: list[Choice]) -> None:
    seen: dict[str, Choice] = {}
    for choice in choices:
        if seen.setdefault(choice.label, choice) != choice:
            raise InputError(
                f'{choice.kind} label {choice.label!r} has two meanings, {seen[choice.label].name} and '
                f'{choice.name}; give each its own label'
            )


def _own_seeds(seeds_for: Mapping[str, Sequence[int]], chosen: list[Choice]) -> dict[str, list[int]]:
    seeds = {label: _integers(f'seeds_for[{label!r}]', own, low=0) for label, own in seeds_for.items()}
    if stray := seeds.keys() - {method.label for method in chosen}:
        raise InputError(f'run.seeds_for names {min(stray)!r}, which is not in run.methods')
    return seeds


def _integers(name: str, value: Sequence[int] | int, *, low: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    wrong = [v for v in values if not isinstance(v, int) or isinstance(v, bool) or v < low]
    if wrong or not values:
        raise InputError(f'run.{name}: expected integers >= {low}, got {wrong[0] if wrong else "an empty list"}')
    return values

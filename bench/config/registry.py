"""Names -> factories, for methods, datasets, backbones, probe protocols, recipes of pre-training and analyses.

Names are known before any code is loaded: methods by the files of `methods/`, the other kinds by the rows of a table.
A factory's module is imported when its name is first used. Outside packages add names by an entry point
(`[project.entry-points."bench.methods"]`, `.datasets` and so on, see `plural`) or by `--plugin=module` whose import
calls `register`.

A factory is a plain function. Its keyword-only parameters with defaults are its settings: `bench.config.gin_files` lets
gin bind them, checks their ranges (`bench.core.ranges`) and puts all of them into the cell's key.
"""

import ast
import functools
import importlib
import importlib.metadata
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core.errors import InputError, near

KINDS = ('method', 'dataset', 'backbone', 'protocol', 'recipe', 'analysis')
_METHODS_DIR = Path(__file__).resolve().parents[2] / 'methods'
_TABLES = {
    'dataset': 'bench.datasets',
    'backbone': 'bench.backbones',
    'protocol': 'bench.probes.protocols',
    'recipe': 'bench.pretrain',
    'analysis': 'bench.analysis',
}


@dataclass(frozen=True)
class Row:
    """One registered name.

    `target` is `module:function`, imported on first use, or the function itself. `settings` override the factory's own
    defaults. `argument`, where given, says what follows the colon of an open name such as `timm:<model name>`; `fixed` is
    the argument that a plain name stands for.
    `base` names the row whose gin bindings this one follows except where it says otherwise (a variant).
    `rules` is the frozen name of a protocol's rules: keys hold it, wherever the code lies. Where it is '', they
    hold the row's name.
    """

    name: str
    target: str | Callable[..., Any]
    summary: str
    settings: dict[str, Any] = field(default_factory=dict)
    argument: str = ''
    fixed: str = ''
    base: str = ''
    rules: str = ''

    @property
    def identifier(self) -> str:
        """The name under which gin knows it: `paper-v1` is bound as `paper_v1`."""
        return self.name.replace('-', '_')

    def load(self) -> Callable[..., Any]:
        """Import and return the factory."""
        if callable(self.target):
            return self.target
        module, _, attribute = self.target.partition(':')
        return getattr(importlib.import_module(module), attribute)

    def defaults(self) -> dict[str, Any]:
        """Return every setting with its default: the factory's keyword-only parameters, overridden by the row."""
        parameters = inspect.signature(self.load()).parameters.values()
        own = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}
        unknown = set(self.settings) - set(own)
        assert not unknown, f'{self.name}: row sets {sorted(unknown)}, which {self.target} does not have'
        return {**own, **self.settings}


_plugins: dict[str, dict[str, Row]] = {kind: {} for kind in KINDS}


def register(kind: str, row: Row) -> None:
    """Add a row from outside the project.

    Raises:
      InputError: if the name is taken, by whatever kind: gin binds all kinds by bare name.
    """
    for other in KINDS:
        taken = next((known for known in rows(other).values() if known.identifier == row.identifier), None)
        if taken is not None and (taken != row or other != kind):
            raise InputError(f'{kind} {row.name!r} is registered twice: a {other} of that name exists; choose another name')
    _plugins[kind][row.name] = row


def register_method(function: Callable[..., Any] | None = None, *, base: str = '', **settings: Any) -> Callable[..., Any]:
    """Register a user's method under its function name: the decorator for a `--plugin` file.

    The first line of the function's (or its module's) docstring is the summary. With `base`, see `Row.base`.
    """

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        lines = (inspect.getdoc(function) or inspect.getdoc(inspect.getmodule(function)) or '').splitlines()
        summary = lines[0] if lines else ''
        register('method', Row(function.__name__, function, summary, settings=settings, base=base))
        return function

    return add(function) if function is not None else add


def rows(kind: str) -> dict[str, Row]:
    """Return every known row of a kind, by name, without importing any factory."""
    if kind == 'method':
        found = dict(_method_rows(_METHODS_DIR))
    else:
        found = {row.name: row for row in importlib.import_module(_TABLES[kind]).ROWS}
    for name, value in _entry_points(f'bench.{plural(kind)}'):
        found.setdefault(name, Row(name, value, f'plug-in from {value}'))
    return {**found, **_plugins[kind]}


def find(kind: str, name: str) -> tuple[Row, str]:
    """Return the row for a name, and its loader's argument: what follows the colon, or what the row fixes, else ''.

    Raises:
      InputError: for an unknown name, with near matches.
    """
    known = rows(kind)
    stem, colon, argument = name.partition(':')
    row = known.get(stem)
    if row is None:
        raise InputError(f'unknown {kind} {name!r}{near(stem, known)}; see python -m bench.list')
    if bool(row.argument) != bool(colon and argument):
        form = f'{stem}:<{row.argument}>' if row.argument else stem
        raise InputError(f'{kind} {name!r}: expected the form {form}')
    return row, argument or row.fixed


def find_identifier(identifier: str) -> tuple[str, Row] | None:
    """Return (kind, row) of the row that gin binds as `identifier`, or None."""
    for kind in KINDS:
        for row in rows(kind).values():
            if row.identifier == identifier:
                return kind, row
    return None


def plural(kind: str) -> str:
    """Return the name of all of a kind."""
    return 'analyses' if kind == 'analysis' else f'{kind}s'


@functools.cache
def _entry_points(group: str) -> tuple[tuple[str, str], ...]:
    """Return (name, value) of what installed packages add; looking through all of them takes a while."""
    return tuple((point.name, point.value) for point in importlib.metadata.entry_points(group=group))


@functools.cache
def _method_rows(folder: Path) -> dict[str, Row]:
    """Read the folder of methods without importing it: file name = method name, first docstring line = summary.

    A variant is a file with two constants: `VARIANT_OF = 'lgm'` and `SETTINGS = {...}`, what differs from its base.
    A method with `FOLLOWS = 'lgm'` takes what is bound for lgm, where it has the setting and has no binding of its own.
    """
    found = {}
    for module in pkgutil.iter_modules([str(folder)]):
        if module.name.startswith('_'):
            continue  # shared code of several methods
        path = folder / module.name / '__init__.py' if module.ispkg else folder / f'{module.name}.py'
        tree = ast.parse(path.read_text(encoding='utf-8'))
        summary = (ast.get_docstring(tree) or '').partition('\n')[0]
        constants = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') in ('VARIANT_OF', 'FOLLOWS', 'SETTINGS')
        }
        variant_of = constants.get('VARIANT_OF', '')
        base = variant_of or constants.get('FOLLOWS', '')
        target = f'methods.{variant_of or module.name}:{variant_of or module.name}'
        found[module.name] = Row(module.name, target, summary, settings=constants.get('SETTINGS', {}), base=base)
    return found

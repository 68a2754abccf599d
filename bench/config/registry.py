"""The registry: maps names to factories of methods, datasets, backbones, probe protocols, pre-training recipes and analyses.

Names are known before any code is loaded: methods from the files in `methods/`, the other kinds from lists of rows. A
factory's module is imported when its name is first used. Other packages add names through entry points
(`[project.entry-points."bench.methods"]`, `.datasets` and so on, see `plural`) or through `--plugin=module`, whose import
calls `register`.

A factory is a plain function. Its keyword-only parameters with defaults are its settings. `bench.config.gin_files` lets
gin bind them, checks their ranges (`bench.core.ranges`) and makes them part of the cell's key.
"""

import ast
import functools
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.core.errors import InputError, near
from bench.core.paths import ROOT

KINDS = ('method', 'dataset', 'backbone', 'protocol', 'recipe', 'analysis')
_METHODS_DIR = ROOT / 'methods'
_ROW_MODULES = {
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
    defaults. `argument` describes the part after the colon of an open name such as `timm:<model name>`; `fixed` is the
    argument that a plain name stands for. `base` names another row: its settings and gin bindings, and those of its own
    base, apply to this row too, unless this row has its own (`lineage`). A variant has its base's function, a follower has
    another one. `tuned` is a method's tuning budget (TUNED in its file): what was chosen, on which images, of how many
    settings. `rules` is the frozen name of a protocol's rules. Keys contain it instead of the code's location; if it is
    '', keys contain the row's name. `version` is raised when the code gives different numbers than before (a method's file
    declares VERSION). `input_side` is a backbone's input in pixels, if it is known without loading the network.
    """

    name: str
    target: str | Callable[..., Any]
    summary: str
    settings: dict[str, Any] = field(default_factory=dict)
    argument: str = ''
    fixed: str = ''
    base: str = ''
    rules: str = ''
    input_side: int | None = None
    version: int = 1
    tuned: str = ''

    @property
    def identifier(self) -> str:
        """The row's name in gin: `paper-v1` is bound as `paper_v1`."""
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
        if unknown := set(self.settings) - set(own):
            raise InputError(f'{self.name} is registered with {min(unknown)!r}, a setting that its function does not have')
        return {**own, **self.settings}


_plugins: dict[str, dict[str, Row]] = {kind: {} for kind in KINDS}


def register(kind: str, row: Row) -> None:
    """Add a row from outside the project.

    Raises:
      InputError: if the name is taken, even by another kind, because gin binds names without their kind.
    """
    for other in KINDS:
        taken = next((known for known in rows(other).values() if known.identifier == row.identifier), None)
        if taken is not None and (other != kind or (taken != row and not _same_function(taken, row))):
            raise InputError(f'{kind} {row.name!r} is registered twice: a {other} of that name exists; choose another name')
    _plugins[kind][row.name] = row


def register_method(function: Callable[..., Any] | None = None, *, base: str = '', **settings: Any) -> Callable[..., Any]:
    """Register a user's method under its function name: the decorator for a `--plugin` file.

    The first line of the function's (or the module's) docstring becomes the summary. The file's `FOLLOWS` and `SETTINGS`
    have the same meaning as in `methods/`; `base` (see `Row.base`) and `settings` take precedence over them.
    """

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        module = inspect.getmodule(function)
        lines = (inspect.getdoc(function) or inspect.getdoc(module) or '').splitlines()
        # read from the source, because a constant may be defined below the function, after the decorator has run
        declared = _declared(getattr(module, '__file__', None))
        register('method', Row(
            function.__name__, function, lines[0] if lines else '', settings={**declared.settings, **settings},
            base=base or declared.follows, tuned=declared.tuned,
        ))  # fmt: skip
        return function

    return add(function) if function is not None else add


def rows(kind: str) -> dict[str, Row]:
    """Return all known rows of a kind by name, without importing any factory."""
    if kind == 'method':
        found = dict(_method_rows(_METHODS_DIR))
    else:
        found = {row.name: row for row in importlib.import_module(_ROW_MODULES[kind]).ROWS}
    for name, value in _entry_points(f'bench.{plural(kind)}'):
        found.setdefault(name, _entry_point_row(kind, name, value))
    return {**found, **_plugins[kind]}


def find(kind: str, name: str) -> tuple[Row, str]:
    """Return the row of a name and the argument for its factory: the part after the colon, or the row's `fixed`, else ''.

    Raises:
      InputError: if the name is unknown; the message suggests similar names.
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


def lineage(kind: str, row: Row, *, follow: str = '') -> list[Row]:
    """Return the rows whose settings and bindings apply to a row, the outermost base first and the row itself last.

    Args:
      kind: the kind of the row.
      row: the row.
      follow: the base of every follower in the line, in place of the declared one; '' keeps the declared bases.

    Raises:
      InputError: if a base is unknown, or a row is its own base.
    """
    line = [row]
    while (last := line[0]).base:
        try:
            base, _ = find(kind, last.base)
            if follow and base.target != last.target and last.name != follow:
                # the declared bases of `follow` remain
                base, follow = find(kind, follow)[0], ''
        except InputError as error:
            raise InputError(f'{last.name} follows another {kind}: {error}') from error
        if base in line:
            names = ' -> '.join(each.name for each in [*reversed(line), base])
            raise InputError(f'{kind} {row.name!r} follows itself: {names}')
        line.insert(0, base)
    return line


def find_identifier(identifier: str) -> tuple[str, Row] | None:
    """Return the (kind, row) that gin binds as `identifier`, or None."""
    for kind in KINDS:
        for row in rows(kind).values():
            if row.identifier == identifier:
                return kind, row
    return None


def plural(kind: str) -> str:
    """Return the plural of a kind."""
    return 'analyses' if kind == 'analysis' else f'{kind}s'


@functools.cache
def _entry_points(group: str) -> tuple[tuple[str, str], ...]:
    """Return the (name, value) of every entry point in a group. Cached, because the search through all packages is slow."""
    return tuple((point.name, point.value) for point in importlib.metadata.entry_points(group=group))


@functools.cache
def _method_rows(folder: Path) -> dict[str, Row]:
    """Read the folder of methods without importing it: file name = method name, first docstring line = summary.

    A variant is a file with two constants: `VARIANT_OF = 'lgm'`, and `SETTINGS = {...}` with the settings that differ. A
    method with `FOLLOWS = 'lgm_fast'` uses the settings and bindings of lgm_fast, and of lgm whose variant this is, for all
    settings that both have, unless it has its own.

    Raises:
      InputError: if a variant has no base among the files, or is its own base.
    """
    declared = {
        module.name: _declared(folder / (f'{module.name}/__init__.py' if module.ispkg else f'{module.name}.py'))
        for module in pkgutil.iter_modules([str(folder)])
        if not module.name.startswith('_')  # code shared by several methods
    }
    found = {}
    for name, own in declared.items():
        line = [name]
        while base := declared[line[-1]].variant_of:
            if base not in declared or base in line:
                wrong = f'unknown method {base!r}{near(base, declared)}'
                if base in line:
                    wrong = f'{" -> ".join([*line, base])} is a circle'
                raise InputError(f'VARIANT_OF of {folder / line[-1]}: expected another method of this folder, but {wrong}')
            line.append(base)
        target = f'methods.{line[-1]}:{line[-1]}'
        found[name] = Row(name, target, own.summary, own.settings, base=own.variant_of or own.follows, tuned=own.tuned)
    return found


@functools.cache
def _entry_point_row(kind: str, name: str, value: str) -> Row:
    """Return the row of an entry point. A method's file is read for its constants, but not run."""
    declared = _declared(_file_of(value.partition(':')[0]) if kind == 'method' else None)
    summary = declared.summary or f'plug-in from {value}'
    return Row(name, value, summary, settings=declared.settings, base=declared.follows, tuned=declared.tuned)


def _file_of(module: str) -> str | None:
    """Return the file of a module without importing it or its parent packages; None if there is none."""
    first, *rest = module.split('.')
    spec = importlib.util.find_spec(first)
    for name in rest:
        inside = spec.submodule_search_locations if spec else None
        spec = importlib.machinery.PathFinder.find_spec(name, inside) if inside else None
    return spec.origin if spec else None


@dataclass(frozen=True)
class _Declared:
    """The declarations in a method's file: the first line of its docstring, and the constants of `_method_rows`."""

    summary: str = ''
    follows: str = ''
    variant_of: str = ''
    tuned: str = ''
    settings: dict[str, Any] = field(default_factory=dict)


def _declared(path: Path | str | None) -> _Declared:
    """Read a file's declarations without running it; empty if there is no source file.

    Raises:
      InputError: if the file is not valid Python, or if a constant is not a literal.
    """
    if path is None or Path(path).suffix != '.py':
        return _Declared()
    try:
        tree = ast.parse(Path(path).read_text(encoding='utf-8'))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f'{path}: expected a Python file ({error})') from error
    found: dict[str, Any] = {}
    for node in tree.body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for name in {getattr(target, 'id', '') for target in targets} & {'VARIANT_OF', 'FOLLOWS', 'SETTINGS', 'TUNED'}:
            kind = dict if name == 'SETTINGS' else str
            try:
                found[name.lower()] = ast.literal_eval(node.value) if node.value else None
            except ValueError:
                found[name.lower()] = None
            if not isinstance(found[name.lower()], kind):
                expected = 'plain values in {...}' if kind is dict else 'a name in quotes'
                raise InputError(f'{path}, line {node.lineno}: expected {name} = {expected}, because the file is not run')
    return _Declared((ast.get_docstring(tree) or '').partition('\n')[0], **found)


def _same_function(taken: Row, row: Row) -> bool:
    """Return whether an entry point's row has the same function, settings and base as the row being registered."""
    function = row.target
    same = callable(function) and taken.target == f'{function.__module__}:{function.__qualname__}'
    return same and replace(taken, target=function, summary=row.summary) == row

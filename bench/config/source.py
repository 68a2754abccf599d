"""Hashes of the source code that computes a number. They are taken from syntax trees: comments and formatting do not count.

A plug-in is hashed as a whole: its file, and every file of its own that it imports. This hash is part of the key. A
built-in function is hashed together with all definitions of the project that it reaches by name, in whatever file they are.
That hash is not part of a key. Built-ins have a version instead, which must be raised with every change of their numbers
(tests/code_versions.py).
"""

import ast
import functools
import inspect
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from bench.config.registry import Row
from bench.core.errors import InputError
from bench.core.hashing import hash_bytes
from bench.core.paths import ROOT

_OWN = ('bench', 'methods')
_INSTALLED = {Path(sysconfig.get_path(name)).resolve() for name in ('stdlib', 'purelib', 'platlib')}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# Definitions that do not affect numbers, or that have a version of their own. Hashes of other definitions skip them.
BESIDE = frozenset(
    'Backbone CenterView Checkpoint Count Dataset FeatureStore Fraction InputError NonNegative Places Positive '
    'PositiveFraction PositiveInt Precision ProbeScore RandomView Range Since Split Waiting World check_ipc progress '
    'release remark'.split()
)


def code_of(row: Row) -> str:
    """Return the part of a key that identifies a factory's code: '' for a built-in at version 1.

    A method's version adds up the constants VERSION of its own file and of the files in `methods/` that it imports.

    Raises:
      InputError: if a plug-in is not defined in a file.
    """
    plugin, version = plugin_source(row.load()), version_of(row)
    said = [f'source {plugin.hash}'] if plugin else []
    return ', '.join([*said, *([f'version {version}'] if version != 1 else [])])


def version_of(row: Row) -> int:
    """Return the version of a factory; the first version is 1."""
    files = {path for function in _functions(row.load()) if (path := Path(function.__code__.co_filename)).is_file()}
    return row.version + sum(number - 1 for number in _versions(files).values())


def facts_of(row: Row) -> dict[str, Any]:
    """Return the record's facts about a factory's code: {file, hash} of a plug-in, {version, hash} of a built-in."""
    if plugin := plugin_source(row.load()):
        return {'file': plugin.file, 'hash': plugin.hash}
    factory = inspect.unwrap(row.load())
    address = row.target if isinstance(row.target, str) else f'{factory.__module__}:{factory.__qualname__}'
    return {'version': version_of(row), 'hash': built_in_hash(address)}


# --- hashes of trees ----------------------------------------------------------------------------------------------------


def tree_hash(nodes: Iterable[ast.AST]) -> str:
    """Return a hash of syntax trees that does not depend on the version of Python."""
    return hash_bytes(f'{_dump(node)}\n'.encode('utf-8', 'surrogatepass') for node in nodes)


def _dump(node: Any) -> str:
    """Return a tree as text. Empty fields are left out, because newer versions of Python have more of them."""
    if isinstance(node, list):
        return f'[{",".join(map(_dump, node))}]'
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if name not in ('ctx', 'type_comment', 'kind')}
    if isinstance(node, (*_DEFINITIONS, ast.Module)) and ast.get_docstring(node, clean=False) is not None:
        fields['body'] = node.body[1:]
    filled = [f'{name}={_dump(value)}' for name, value in fields.items() if value is not None and value != []]
    # leaving out `value=None` of a constant is safe, because no other constant has an empty value
    return f'{type(node).__name__}({",".join(filled)})'


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f'{path}: expected a Python file, got: {error}') from error


# --- plug-ins -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PluginSource:
    """The source of a factory from outside the project.

    `file` is the path of its file, starting at its package. `hash` covers all files of the plug-in.
    """

    file: str
    hash: str


@functools.cache
def plugin_source(factory: Callable[..., Any]) -> PluginSource | None:
    """Return the source of a plug-in's factory, or None for a built-in.

    Raises:
      InputError: if the factory is not defined in a file.
    """
    functions = list(_functions(factory))
    innermost = _package(functions[-1]) if functions else ''
    files = {
        path.resolve(): str(function.__globals__.get('__name__', '')) for function in functions
        if (path := Path(function.__code__.co_filename)).is_file()
        # a decorator from another library is not part of the plug-in's own code
        and (_package(function) == innermost or not any(path.is_relative_to(folder) for folder in _INSTALLED))
    }  # fmt: skip
    if not files:
        raise InputError(
            f'plug-in {getattr(factory, "__name__", factory)}: expected a function defined in a file; save it to one, '
            'so that its records can identify the code'
        )
    files = {path: name for path, name in files.items() if not any(path.is_relative_to(ROOT / own) for own in _OWN)}
    if not files:
        return None
    trees: dict[Path, ast.Module] = {}
    for path, module in files.items():
        _read_own(path, module, trees)
    path, module = next(iter(files.items()))
    shown = path.relative_to(_root(path, module)).as_posix()
    return PluginSource(shown, hash_bytes(sorted(tree_hash([tree]).encode() for tree in trees.values())))


def _root(path: Path, module: str) -> Path:
    """Return the folder on Python's path from which a file is imported as the given module."""
    package = _package_of(path, module)
    return path.parents[len(package)] if len(package) < len(path.parents) else path.parent


def _package_of(path: Path, module: str) -> list[str]:
    """Return the parts of the name of the package that a module's file belongs to."""
    return module.split('.') if path.name == '__init__.py' else module.split('.')[:-1]


def _package(function: FunctionType) -> str:
    return str(function.__globals__.get('__name__', '')).partition('.')[0]


def _functions(factory: Any) -> Iterator[FunctionType]:
    """Yield every function that a factory consists of: those that it wraps, closes over, or is a partial of."""
    todo, seen = [factory], set()
    while todo:
        thing = todo.pop(0)
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, FunctionType):
            yield thing
            todo += [getattr(thing, '__wrapped__', None), *_contents(thing)]
        elif isinstance(thing, functools.partial):
            todo += [thing.func, *thing.args, *thing.keywords.values()]
        elif inspect.ismethod(thing):
            todo += [thing.__func__, thing.__self__]
        elif thing is not None and thing is factory:
            kind = thing if inspect.isclass(thing) else type(thing)
            todo += [value for value in vars(kind).values() if isinstance(value, FunctionType)]


def _contents(function: FunctionType) -> list[Any]:
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not filled yet
            continue
    return found


def _read_own(path: Path, module: str, trees: dict[Path, ast.Module]) -> None:
    """Parse a plug-in's file and, recursively, the files that it imports from its own package or folder."""
    if path in trees:
        return
    trees[path] = _parse(path)
    root = _root(path, module)
    for name in _imported(trees[path], _package_of(path, module)):
        first = name.partition('.')[0]
        # in site-packages, packages of other authors lie next to the plug-in's own
        if first in _OWN or (root in _INSTALLED and first != module.partition('.')[0]):
            continue
        stem = root.joinpath(*name.split('.'))
        for found in (stem.with_name(f'{stem.name}.py'), stem / '__init__.py'):
            if found.is_file():
                _read_own(found.resolve(), name, trees)


def _imported(tree: ast.Module, package: list[str]) -> set[str]:
    """Return the absolute names of all modules that a file imports anywhere, and of their parent packages."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = '.'.join([*above, *([node.module] if node.module else [])])
            names |= {base, *(f'{base}.{alias.name}' if base else alias.name for alias in node.names)} - {''}
    return {name.rsplit('.', up)[0] for name in names for up in range(name.count('.') + 1)}


# --- versions -----------------------------------------------------------------------------------------------------------


def _versions(files: Iterable[Path]) -> dict[Path, int]:
    """Return the VERSION of each file in `methods/`, among the given files and the files that they import."""
    methods = set()
    for path in files:
        if path.is_relative_to(ROOT / 'methods'):
            methods.add(path)
        for name in _facts(path, *_look(path)).imported:
            if name.startswith('methods.') and (found := _file(name)):
                methods.add(found)
    return {path: _facts(path, *_look(path)).version for path in methods}


@dataclass(frozen=True)
class _Facts:
    version: int
    imported: frozenset[str]


@functools.cache
def _facts(path: Path, *look: int) -> _Facts:
    """Return a file's VERSION and its imports without running it. The file is read again after a change."""
    tree = _parse(path)
    version = 1
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == 'VERSION':
            if not (isinstance(node.value, ast.Constant) and type(node.value.value) is int):
                raise InputError(f'{path}, line {node.lineno}: expected VERSION = 2 or the like, a plain number')
            version = node.value.value
    return _Facts(version, frozenset(_imported(tree, [])))


def _look(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


# --- built-in functions -------------------------------------------------------------------------------------------------


@functools.cache
def built_in_hash(address: str, *, beside: frozenset[str] = BESIDE) -> str:
    """Return the hash of a definition of the project (`module:name`) and of all definitions that it reaches by name."""
    return hash_bytes(sorted(f'{name} {tree_hash([tree])}\n'.encode() for name, tree in reached(address, beside=beside)))


def reached(address: str, *, beside: frozenset[str] = BESIDE) -> list[tuple[str, ast.AST]]:
    """Return a definition of the project and all definitions that it reaches, as (name, tree) pairs in no particular order.

    Args:
      address: `module:name` of the definition.
      beside: names that are not followed, except as the starting point.
    """
    module, _, name = address.partition(':')
    todo, found, seen = [(module, name)], [], set()
    while todo:
        definition = todo.pop()
        if definition in seen or (definition[1] in beside and definition != (module, name)):
            continue
        seen.add(definition)
        file = _file(definition[0])
        if file is None:
            continue
        names = _names(file)
        if definition[1] in names.imported:
            todo.append(_target(*names.imported[definition[1]]))
            continue
        for tree in names.defined.get(definition[1], ()):
            found.append((definition[1], tree))
            todo += [(definition[0], other) for other in _used(tree, names)]
            todo += _through_modules(tree, names)
    return found


@dataclass(frozen=True)
class _Names:
    """The top-level definitions of a file, and its imports from the project: name -> (module, name in that module)."""

    defined: dict[str, list[ast.AST]]
    imported: dict[str, tuple[str, str]]


@functools.cache
def _names(path: Path) -> _Names:
    tree = _parse(path)
    defined: dict[str, list[ast.AST]] = {}
    for node in tree.body:
        if isinstance(node, _DEFINITIONS):
            defined.setdefault(node.name, []).append(node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}:
                defined.setdefault(name, []).append(node)
    imported: dict[str, tuple[str, str]] = {}
    for inner in ast.walk(tree):
        if isinstance(inner, ast.ImportFrom) and inner.module and inner.module.partition('.')[0] in _OWN:
            imported |= {alias.asname or alias.name: (inner.module, alias.name) for alias in inner.names}
    return _Names(defined, imported)


def _file(module: str) -> Path | None:
    stem = ROOT.joinpath(*module.split('.'))
    return next((path for path in (stem.with_name(f'{stem.name}.py'), stem / '__init__.py') if path.is_file()), None)


def _target(module: str, name: str) -> tuple[str, str]:
    """Return what an import refers to: (module, '') for a module, (module, name) for anything else."""
    return (f'{module}.{name}', '') if _file(f'{module}.{name}') else (module, name)


def _used(tree: ast.AST, names: _Names) -> set[str]:
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} & (names.defined.keys() | names.imported.keys())


def _through_modules(tree: ast.AST, names: _Names) -> list[tuple[str, str]]:
    """Return the definitions used as `module.name`, where the module belongs to the project."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names.imported:
            module, name = _target(*names.imported[node.value.id])
            found += [] if name else [(module, node.attr)]
    return found

"""Gin at the outermost layer: files and bindings in, plain settings out.

This is the only place that makes registered factories and the parameters of a command (`run`, `analyze`) configurable. Gin
wraps a stand-in that returns the bound values. The factories stay plain functions, and calls from Python are not affected
by bindings.

A name in `run.methods` (or datasets, backbones) may be `label=name`: the registered `name` under the gin scope `label`,
shown as `label`. `run.methods = ['lgm', 'no_pyramid=lgm']` with `no_pyramid/lgm.parameterization = 'pixels'` is an ablation.
"""

import inspect
import os
import re
import tokenize
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gin
from absl import logging
from gin import config_parser

from bench.config import registry, source
from bench.config.registry import Row
from bench.core import ranges
from bench.core.errors import InputError, near
from bench.core.hashing import canonical_json
from bench.core.paths import ROOT

_FLAG = '--gin_bindings'
_UNBOUND = object()
_collectors: dict[str, tuple[Any, Any]] = {}


@dataclass(frozen=True)
class Choice:
    """A row of the registry chosen for a run, with its label (its displayed name and gin scope) and all its settings."""

    kind: str
    label: str
    row: Row
    argument: str
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        return f'{self.row.name}:{self.argument}' if self.row.argument else self.row.name

    @property
    def bound_as(self) -> str:
        """The name under which its settings are bound: `lgm`, or `label/lgm`."""
        return self.row.identifier if self.label == self.name else f'{self.label}/{self.row.identifier}'

    @property
    def input_side(self) -> int | None:
        """The side of a backbone's input in pixels, or None if it is known only after loading the network."""
        return self.settings.get('input_side') or self.row.input_side

    @property
    def arguments(self) -> tuple[str, ...]:
        """The first arguments of its factory: the argument of an open name, none for a plain name."""
        return (self.argument,) if self.argument else ()

    def call(self, *given: Any) -> Any:
        """Call its factory with its argument, the given arguments (such as places or a task) and its settings."""
        return self.row.load()(*self.arguments, *given, **self.settings)

    @property
    def lasting(self) -> dict[str, Any]:
        """The settings that are part of a key: all except those at their neutral value."""
        return ranges.lasting(self.row.load(), self.settings)

    @property
    def code(self) -> str:
        """The part of a key that identifies the code, see `bench.config.source.code_of`."""
        return source.code_of(self.row)


@dataclass
class Config:
    """The parsed files and bindings; valid inside `loaded`. `command` is the row of the command that reads them."""

    command: Row | None = None
    statements: list[config_parser.BindingStatement] = field(default_factory=list)
    macros_used: set[str] = field(default_factory=set)
    included: set[str] = field(default_factory=set)  # paths of included files
    _asked_for: set[tuple[str, str, str]] = field(default_factory=set)

    def choose(self, kind: str, name: str, *, follow: str = '') -> Choice:
        """Resolve `name`, `label=name` or `prefix:argument` to a row with its settings; for `follow` see `registry.lineage`.

        Raises:
          InputError: if the name is unknown or a setting is out of range.
        """
        if not isinstance(name, str):
            owner = self.command.name if self.command else 'config'
            raise InputError(f'{owner}.{registry.plural(kind)}: expected names in quotes, got {name!r}')
        label, _, target = name.rpartition('=')
        row, argument = registry.find(kind, target)
        if label and not config_parser.IDENTIFIER_RE.match(label):
            raise InputError(f'{kind} {name!r}: a label is one word of letters, digits and underscores, got {label!r}')
        settings = self.settings(kind, row, scope=label, follow=follow)
        choice = Choice(kind, label or target, row, argument, settings)
        # two readouts of a network are two backbones in every table
        if kind == 'backbone' and (readout := settings.get('readout', 'none')) not in ('none', *choice.label.split('_')):
            better = re.sub(r'\W+', '_', choice.label)
            raise InputError(
                f'backbone {name!r} has the readout {readout!r}: expected a label that ends in it, such as '
                f'{better}_{readout}={target}, and its settings bound under that label'
            )
        return choice

    def settings(self, kind: str, row: Row, *, scope: str = '', follow: str = '') -> dict[str, Any]:
        """Return all settings of a row: its defaults, then the settings and scoped bindings of its bases, then its own."""
        settings = row.defaults()
        line = registry.lineage(kind, row, follow=follow) if row.base else [row]
        for place, each in enumerate(line, start=1):
            # a binding that a row nearer to this one overrides by its settings is not used
            fixed = {key for nearer in line[place:] for key in nearer.settings}
            given = {**each.settings, **self._bound(kind, each, scope, without=fixed)}
            settings |= {key: value for key, value in given.items() if key in settings}
        ranges.check(row.load(), settings, name=f'{scope}/{row.identifier}' if scope else row.identifier)
        # `strength = 1` and `strength = 1.0` must give the same key
        for key, default in row.defaults().items():
            if isinstance(default, float) and type(settings[key]) is int:
                settings[key] = float(settings[key])
        try:
            canonical_json(settings)
        except (TypeError, ValueError) as error:
            raise InputError(f'{row.identifier}: its settings must be plain values, {error}') from error
        return settings

    def command_settings(self) -> dict[str, Any]:
        """Return every setting of the command that reads the files."""
        assert self.command is not None, 'loaded() was given no command'
        return self.settings('command', self.command)

    def check_all_used(self, *, chosen_in: str, narrowed_by: str = '') -> None:
        """Check that every binding is used.

        A flag may narrow the grid of a file or the scope of an analysis: `--gin_bindings="run.methods = ['lgm']"`, or a
        macro that lists the names. In that case the bindings in the file may be unused. A macro of an included file may
        always be unused.

        Args:
          chosen_in: the parameters that select what is used, for the message.
          narrowed_by: the command or analysis whose bindings may narrow the run if a flag sets them, such as `run`.

        Raises:
          InputError: names the first unused binding and its location.
        """
        narrowed = any(not _in_file(s) and (s.selector == narrowed_by or not s.arg_name) for s in self.statements)
        for statement in self.statements:
            if narrowed and _in_file(statement):
                continue
            if statement.arg_name:
                identifier = statement.selector.rpartition('.')[2]
                used = any(
                    (name, parameter) == (identifier, statement.arg_name)
                    and f'{scope}/'.startswith(f'{statement.scope}/' if statement.scope else '')
                    for scope, name, parameter in self._asked_for
                )
                shown = f'binding {_scoped(statement)}.{statement.arg_name}'
                remedy = f'add what it configures to {chosen_in}'
            else:
                used = statement.selector in self.macros_used or _found_in(statement) in self.included
                shown, remedy = f'macro {statement.selector}', f'use it, as %{statement.selector}'
            if not used:
                raise InputError(f'nothing in this run uses the {shown} ({_where(statement)}): remove it, or {remedy}')

    def asked(self) -> dict[str, Any]:
        """Return all bindings as plain JSON values; later bindings override earlier ones."""
        return {
            f'{_scoped(s)}.{s.arg_name}' if s.arg_name else _scoped(s): _plain(s.value) for s in self.statements
        }

    def _bound(self, kind: str, row: Row, scope: str, *, without: Collection[str] = ()) -> dict[str, Any]:
        self._asked_for |= {(scope, row.identifier, key) for key in row.defaults() if key not in without}
        with gin.config_scope(scope or None):
            return {key: _plain(value) for key, value in _collector(kind, row)().items() if key not in without}


@contextmanager
def loaded(gin_files: Sequence[str], bindings: Sequence[str], *, command: Row | None = None) -> Iterator[Config]:
    """Parse gin files and bindings; gin's state is cleared before and after.

    Args:
      gin_files: paths, relative to the working directory or else to the repository.
      bindings: lines such as `run.ipc = [1, 5]`; they override the files.
      command: the row of the command's own parameters; None if only rows of the registry may be bound.

    Raises:
      InputError: if a file is missing or has a syntax error, or a name or parameter is unknown.
    """
    gin.clear_config()
    try:
        config = Config(command)
        files = [find_file(path) for path in gin_files]
        for path in files:
            _scan_file(path, config)
        for number, binding in enumerate(bindings, start=1):
            _scan(f'{_FLAG} number {number}', config, binding)
        if str(ROOT) not in gin.config._LOCATION_PREFIXES:
            gin.add_config_file_search_path(str(ROOT))
        verbosity = logging.get_verbosity()
        logging.set_verbosity(logging.FATAL)  # gin logs an error for every folder in which it does not find an include
        try:
            gin.parse_config_files_and_bindings(files, list(bindings))
        except (ValueError, TypeError, OSError) as error:
            raise InputError(f'gin: {_first_line(error)}') from error
        finally:
            logging.set_verbosity(verbosity)
        yield config
    finally:
        gin.clear_config()


# --- reading what is bound, before gin does -----------------------------------------------------------------------------


class _Names(config_parser.ParserDelegate):
    """Replaces gin's own delegate: collects the names of macros, and keeps references as text."""

    def __init__(self, macros: set[str]) -> None:
        self.macros = macros

    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> str:
        return f'@{scoped_configurable_name}{"()" if evaluate else ""}'

    def macro(self, macro_name: str) -> str:
        self.macros.add(macro_name)
        return f'%{macro_name}'


def _scan_file(path: str, config: Config, *, inside: tuple[str, ...] = ()) -> None:
    if path in inside:
        raise InputError(f'gin: {path} includes itself, through {inside[-1]}')
    try:
        text = Path(path).read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'gin: {path} cannot be read as text ({error})') from error
    _scan(path, config, text, inside=(*inside, path))


def _scan(where: str, config: Config, text: str, *, inside: tuple[str, ...] = ()) -> None:
    """Collect every statement, and register the names it binds with gin. Only names that occur are imported."""
    try:
        statements = list(config_parser.ConfigParser(text, _Names(config.macros_used)))
    except SyntaxError as error:
        raise InputError(f'gin: {where}, line {error.lineno}: {error.msg.splitlines()[-1].strip()}') from error
    except (tokenize.TokenError, ValueError) as error:
        raise InputError(f'gin: {where} ends in the middle of a value ({error.args[0]})') from error
    for statement in statements:
        statement = statement._replace(location=statement.location._replace(filename=where))
        if isinstance(statement, config_parser.IncludeStatement):
            path = find_file(statement.filename, asked_by=where)
            config.included.add(path)
            _scan_file(path, config, inside=inside)
        elif isinstance(statement, config_parser.BindingStatement):
            if statement.arg_name:
                _check_known(statement, config.command)
            config.statements.append(statement)


def _check_known(statement: config_parser.BindingStatement, command: Row | None) -> None:
    identifier = statement.selector.rpartition('.')[2]
    commands = {command.identifier: command} if command else {}
    found = ('command', commands[identifier]) if identifier in commands else registry.find_identifier(identifier)
    if found is None:
        names = [row.identifier for kind in registry.KINDS for row in registry.rows(kind).values()]
        hint = near(identifier, [*commands, *names])
        raise InputError(f'gin: nothing is called {identifier!r} ({_where(statement)}){hint}')
    kind, row = found
    parameters = row.defaults()
    if statement.arg_name not in parameters:
        raise InputError(
            f'gin: {identifier} has no parameter {statement.arg_name!r} ({_where(statement)})'
            f'{near(statement.arg_name, parameters) if parameters else "; it has none"}'
        )
    _collector(kind, row)


def _collector(kind: str, row: Row) -> Any:
    """Return the stand-in of a row, a function that returns the row's bindings when it is called through gin."""
    target, collector = _collectors.get(row.identifier, (None, None))
    if collector is None or target != row.target:
        names = list(row.defaults())

        def collect(**bound: Any) -> dict[str, Any]:
            return bound

        collect.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # a function carries any name
            [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_UNBOUND) for name in names]
        )
        # a plug-in of an earlier run in the same process may have used this name
        gin.enter_interactive_mode()
        try:
            with gin.unlock_config():
                collector = gin.external_configurable(collect, name=row.identifier, module=kind)
        finally:
            gin.exit_interactive_mode()
        _collectors[row.identifier] = (row.target, collector)
    return collector


def find_file(path: str, *, asked_by: str = '') -> str:
    """Return the absolute path of a gin file, searched for in the working directory and then in the repository.

    Raises:
      InputError: names the missing file and, for an include, the file that includes it.
    """
    for candidate in (Path(path), ROOT / path):
        if candidate.is_file():
            return os.path.abspath(candidate)
    wanted = f' (included by {asked_by})' if asked_by else ''
    raise InputError(f'no gin file {path}{wanted}: looked in {Path.cwd()} and {ROOT}; see the files in {ROOT / "gin"}')


def _scoped(statement: config_parser.BindingStatement) -> str:
    return f'{statement.scope}/{statement.selector}' if statement.scope else statement.selector


def _found_in(statement: config_parser.BindingStatement) -> str:
    """Return the path of the file that holds a statement, or the flag with its number."""
    assert statement.location.filename, '`_scan` says where each statement was found'
    return statement.location.filename


def _in_file(statement: config_parser.BindingStatement) -> bool:
    return not _found_in(statement).startswith(_FLAG)


def _where(statement: config_parser.BindingStatement) -> str:
    if not _in_file(statement):
        return _found_in(statement)
    return f'{_found_in(statement)}, line {statement.location.line_num}'


def _plain(value: Any) -> Any:
    """Return a value with tuples replaced by lists, as in JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]

"""From JSON to a `Record`: validation, derived from the types of the record's fields."""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Literal

from bench.core.errors import InputError
from bench.core.ranges import Range
from bench.results.record import SCHEMA_VERSION, CellConfig, MethodFacts, Record

_LARGEST = 2**63 - 1  # the largest integer that fits a column of the table


class RecordError(InputError):
    """The input is not a readable record. The message gives the reason and, for a file, its path."""


class _Misfit(Exception):
    """A value does not fit its type. Holds the field, the expected type and the value."""

    def __init__(self, problem: str, *, where: str = '') -> None:
        super().__init__(problem)
        self.problem, self.where = problem, where

    def below(self, where: str) -> '_Misfit':
        """Return the same error with the field's path extended by one outer level."""
        dot = '.' if self.where and not self.where.startswith('[') else ''
        return _Misfit(self.problem, where=f'{where}{dot}{self.where}')


def versions() -> tuple[int, ...]:
    """Return the schema versions that can be read."""
    return typing.get_args(typing.get_type_hints(Record)['schema_version'])


def parse(content: Any) -> Record:
    """Return the record held by parsed JSON of any schema version. Fields of later versions get their default.

    Raises:
      RecordError: if the content is not a valid record; the message names the field.
    """
    if not isinstance(content, dict) or 'schema_version' not in content:
        raise RecordError('JSON without schema_version: not a record of this suite')
    version = content['schema_version']
    if isinstance(version, bool) or version not in versions():
        raise RecordError(f'schema version {version!r}; this code reads versions {" and ".join(map(str, versions()))}')
    try:
        record = reader(Record, version)(content)
    except _Misfit as error:
        raise RecordError(f'field {error.where} {error.problem}') from None
    if problem := problem_of(record):
        raise RecordError(problem)
    return record if record.method_facts else dataclasses.replace(record, method_facts=MethodFacts.of_old(record.cell))


def cell_config(config: Mapping[str, Any]) -> CellConfig:
    """Return a cell's configuration in the form that a record holds.

    Raises:
      RecordError: if a field is missing or has the wrong type.
    """
    try:
        return reader(CellConfig, SCHEMA_VERSION)(dict(config))
    except _Misfit as error:
        raise RecordError(f'field cell.{error.where} {error.problem}') from None


def problem_of(record: Record) -> str | None:
    """Return the first problem of a record that its types cannot express, or None for a valid record."""
    for name, status in needed_when().items():
        if record.status == status and getattr(record, name) is None:
            return f'field {name} is null; records of status {status} must have a value'
    if record.status == 'failed':
        return None
    assert record.probe_seeds is not None and record.correct is not None, 'checked above'
    if not record.top1:
        return 'field top1 is empty; expected one fraction per repeat'
    if not len(record.top1) == len(record.probe_seeds) == len(record.correct.bits):
        return 'fields top1, probe_seeds and correct differ in their number of repeats'
    return None


@cache
def needed_when() -> Mapping[str, str]:
    """Map each field marked `IfOk` or `IfFailed` to the record status under which it must not be null."""
    hints = typing.get_type_hints(Record, include_extras=True)
    notes = {name: getattr(hint, '__metadata__', ()) for name, hint in hints.items()}
    return {name: note for name, found in notes.items() for note in found if isinstance(note, str)}


# --- types -> readers -------------------------------------------------------------------------------------------------


@cache
def reader(hint: Any, version: int) -> Callable[[Any], Any]:
    """Return a function that converts JSON of a schema version to a value of the given type, or raises `_Misfit`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        intervals = [note for note in arguments[1:] if isinstance(note, Range)]
        return _number(arguments[0], intervals[0]) if intervals else reader(arguments[0], version)
    if origin in (typing.Union, types.UnionType):
        (some,) = (argument for argument in arguments if argument is not type(None))
        return _or_null(reader(some, version))
    if origin is Literal:
        return _one_of(arguments)
    if origin is list:
        return _items(reader(arguments[0], version))
    if origin is tuple:
        return _items(reader(arguments[0], version), count=len(arguments), kind=tuple)
    if origin is dict:
        return _entries(reader(arguments[1], version))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _fields(hint, version)
    if hint in (int, float):
        return _number(hint, Range())
    return _plain(hint)


def _fits(value: Any, expected: str) -> _Misfit:
    return _Misfit(f'is {str(value)[:40]!r}, expected {expected}')


def _plain(kind: Any) -> Callable[[Any], Any]:
    expected = {str: 'text', bool: 'true or false'}

    def read(value: Any) -> Any:
        if kind is not Any and not isinstance(value, kind):
            raise _fits(value, expected[kind])
        return value

    return read


def _number(kind: type, interval: Range) -> Callable[[Any], Any]:
    noun = 'a whole number' if kind is int else 'a number'
    expected = noun if interval == Range() else f'{noun} {interval}'
    allowed = (int,) if kind is int else (int, float)

    def read(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, allowed) or not math.isfinite(value):
            raise _fits(value, expected)
        if abs(value) > _LARGEST:
            raise _Misfit('is out of range: beyond 64 bits')
        if value not in interval:
            raise _fits(value, expected)
        return value

    return read


def _one_of(choices: tuple[Any, ...]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value not in choices:
            raise _Misfit(f'is {value!r}, expected {" or ".join(map(str, choices))}')
        return value

    return read


def _or_null(read_some: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read_some(value)


def _items(read_item: Callable[[Any], Any], *, count: int | None = None, kind: type = list) -> Callable[[Any], Any]:
    expected = 'a list' if count is None else f'a list of {count}'

    def read(value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or count not in (None, len(value)):
            raise _fits(value, expected)
        found = []
        try:
            for item in value:
                found.append(read_item(item))
        except _Misfit as error:
            raise error.below(f'[{len(found)}]') from None
        return kind(found)

    return read


def _entries(read_value: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _fits(value, 'an object')
        found = {}
        for name, item in value.items():
            try:
                found[name] = read_value(item)
            except _Misfit as error:
                raise error.below(name) from None
        return found

    return read


def _fields(kind: type, version: int) -> Callable[[Any], Any]:
    """Return the reader of one class of the record. A missing field is an error unless it is newer or has a default."""
    hints = typing.get_type_hints(kind, include_extras=True)
    others = next((f.name for f in dataclasses.fields(kind) if 'rest' in f.metadata), None)
    known = [f for f in dataclasses.fields(kind) if f.name != others and f.metadata.get('since', 0) <= version]
    readers = {f.name: reader(hints[f.name], version) for f in known}
    needed = {f.name for f in known if f.default is dataclasses.MISSING or 'since' in f.metadata}

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _fits(value, 'an object')
        found = {}
        for name, read_field in readers.items():
            if name in value:
                try:
                    found[name] = read_field(value[name])
                except _Misfit as error:
                    raise error.below(name) from None
            elif name in needed:
                raise _Misfit('is missing', where=name)
        if more := {name: item for name, item in value.items() if name not in readers}:
            if others is None:
                raise _Misfit(f'is unknown to schema version {version}', where=min(more))
            found[others] = reader(hints[others], version)(more)
        return kind(**found)

    return read

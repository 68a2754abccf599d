"""Documentation of the record format: a JSON schema and tables of fields, both generated from `Record`."""

import ast
import dataclasses
import inspect
import json
import math
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from bench.core.disk import write_atomic
from bench.core.ranges import Range
from bench.core.tables import markdown, markdown_escape, replace_block
from bench.results.check import needed_when, versions
from bench.results.record import Record

_NAMES = {int: 'integer', float: 'number', str: 'string', bool: 'boolean'}
_WORDS = {int: 'whole number', float: 'number', str: 'text', bool: 'true or false', Any: 'anything'}


def write(docs: Path) -> None:
    """Write `record.schema.json` and the tables between the markers of `record.md`.

    Raises:
      InputError: if the document or one of its markers is missing.
    """
    replace_block(docs / 'record.md', 'record', field_tables())
    write_atomic(docs / 'record.schema.json', json.dumps(json_schema(), indent=1) + '\n')


def json_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of records of all readable versions."""
    return {
        '$schema': 'https://json-schema.org/draft/2020-12/schema',
        'title': 'Record',
        **_schema(Record),
        'allOf': [*_by_status(), *_by_version(Record, ())],
        '$defs': {part.__name__: _schema(part) for part in parts(Record) if part is not Record},
    }


def field_tables() -> str:
    """Return one markdown table of fields for the record and for each class nested in it."""
    blocks = []
    for part in parts(Record):
        hints, said = typing.get_type_hints(part, include_extras=True), documentation(part)
        rows = [(_field_name(f), _shown(hints[f.name]), said[f.name] + _version_note(f)) for f in dataclasses.fields(part)]
        table = markdown(('field', 'type', 'meaning'), ([markdown_escape(cell) for cell in row] for row in rows))
        blocks.append(f'### {part.__name__}\n\n{inspect.getdoc(part)}\n\n{table}')
    return '\n\n'.join(blocks) + '\n'


def parts(kind: type) -> list[type]:
    """Return a class of the record and all classes nested in its fields, in the order of the fields."""
    found = {kind: None}
    for hint in typing.get_type_hints(kind, include_extras=True).values():
        for part in _classes_in(hint):
            found |= dict.fromkeys(parts(part))
    return list(found)


def documentation(kind: type) -> dict[str, str]:
    """Return the documentation of each field of a class as one line."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef), 'expected the source of a class'
    pairs = zip(definition.body, definition.body[1:], strict=False)
    return {
        field.target.id: ' '.join(ast.literal_eval(text.value).split())
        for field, text in pairs
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr)
    }


def _classes_in(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for argument in typing.get_args(hint):
        yield from _classes_in(argument)


# --- JSON schema ------------------------------------------------------------------------------------------------------


def _schema(kind: type) -> dict[str, Any]:
    """Return the schema of one class. Nested classes are references."""
    hints, said = typing.get_type_hints(kind, include_extras=True), documentation(kind)
    named = [field for field in dataclasses.fields(kind) if 'rest' not in field.metadata]
    others = next((f.name for f in dataclasses.fields(kind) if 'rest' in f.metadata), None)
    return {
        'type': 'object',
        'description': inspect.getdoc(kind),
        'properties': {f.name: {'description': said[f.name], **_of_type(hints[f.name])} for f in named},
        'required': [f.name for f in named if f.default is dataclasses.MISSING],
        'additionalProperties': _of_type(hints[others])['additionalProperties'] if others else False,
    }


def _of_type(hint: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        intervals = [note for note in arguments[1:] if isinstance(note, Range)]
        return _of_type(arguments[0]) | (_limits(intervals[0]) if intervals else {})
    if origin in (typing.Union, types.UnionType):
        return {'anyOf': [_of_type(argument) for argument in arguments]}
    if origin is Literal:
        return {'enum': list(arguments)}
    if origin is list:
        return {'type': 'array', 'items': _of_type(arguments[0])}
    if origin is tuple:
        return {'type': 'array', 'items': _of_type(arguments[0]), 'minItems': len(arguments), 'maxItems': len(arguments)}
    if origin is dict:
        return {'type': 'object', 'additionalProperties': _of_type(arguments[1])}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return {'$ref': f'#/$defs/{hint.__name__}'}
    return {} if hint is Any else {'type': 'null' if hint is type(None) else _NAMES[hint]}


def _limits(interval: Range) -> dict[str, float]:
    assert not interval.open_low, 'open lower bounds are not supported'
    limits = {'minimum': interval.low, 'maximum': interval.high}
    return {name: limit for name, limit in limits.items() if math.isfinite(limit)}


def _by_status() -> Iterator[dict[str, Any]]:
    """Yield one condition per status: which fields must not be null."""
    for status in dict.fromkeys(needed_when().values()):
        needed = [name for name, when in needed_when().items() if when == status]
        yield {
            'if': {'properties': {'status': {'const': status}}},
            'then': {'properties': {name: {'not': {'type': 'null'}} for name in needed}},
        }


def _by_version(kind: type, path: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield one condition per newer field: it is required from its schema version on, and not allowed before."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        for part in _classes_in(hints[field.name]):
            if typing.get_origin(hints[field.name]) not in (list, dict):
                yield from _by_version(part, (*path, field.name))
        if (version := field.metadata.get('since', min(versions()))) > min(versions()):
            held: dict[str, Any] = {'required': [field.name]}
            absent: dict[str, Any] = {'properties': {field.name: False}}
            for name in reversed(path):
                held, absent = ({'properties': {name: inner}} for inner in (held, absent))
            yield {'if': {'properties': {'schema_version': {'minimum': version}}}, 'then': held, 'else': absent}


# --- tables -----------------------------------------------------------------------------------------------------------


def _field_name(field: dataclasses.Field) -> str:
    return '(others)' if 'rest' in field.metadata else f'`{field.name}`'


def _version_note(field: dataclasses.Field) -> str:
    return f' Since version {field.metadata["since"]}.' if 'since' in field.metadata else ''


def _shown(hint: Any) -> str:
    """Describe a type in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        intervals = [f' {note}' for note in arguments[1:] if isinstance(note, Range)]
        return _shown(arguments[0]) + ''.join(intervals)
    if origin in (typing.Union, types.UnionType):
        return ' or '.join('null' if argument is type(None) else _shown(argument) for argument in arguments)
    if origin is Literal:
        return ' or '.join(f'`{choice}`' for choice in arguments)
    if origin is list:
        return f'list of ({_shown(arguments[0])})'
    if origin is tuple:
        return f'list of {len(arguments)} ({_shown(arguments[0])})'
    if origin is dict:
        return f'by name: {_shown(arguments[1])}'
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return f'[{hint.__name__}](#{hint.__name__.lower()})'
    return _WORDS[hint]

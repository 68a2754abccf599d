"""Annotations for settings: their range, `learning_rate: Positive = 2e-3`, and when they were introduced.

A factory annotates its keyword-only settings, and `check` validates every value before any work starts. A setting that is
added later declares a neutral value, at which everything is as before. At that value it is not part of any key, so earlier
records stay valid.

    momentum: Annotated[Fraction, Since('2026-11', neutral=0.0)] = 0.0
"""

import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from bench.core.errors import InputError


@dataclass(frozen=True)
class Range:
    """A closed interval; `open_low` excludes the lower end."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False

    def __contains__(self, value: float) -> bool:
        return (value > self.low if self.open_low else value >= self.low) and value <= self.high

    def __str__(self) -> str:
        if self.high == math.inf:
            return f'{">" if self.open_low else ">="} {self.low:g}'
        return f'in {"(" if self.open_low else "["}{self.low:g}, {self.high:g}]'


@dataclass(frozen=True)
class Since:
    """When a setting was introduced (year-month), and its `neutral` value, which gives the earlier behaviour.

    Must be the outermost annotation.
    """

    month: str
    neutral: Any


Count = Annotated[int, Range(0)]
PositiveInt = Annotated[int, Range(1)]
NonNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, open_low=True)]
Fraction = Annotated[float, Range(0, 1)]
PositiveFraction = Annotated[float, Range(0, 1, open_low=True)]


def check(function: Callable[..., Any], settings: dict[str, Any], *, name: str) -> None:
    """Check settings against the annotations of a factory.

    Args:
      function: the factory; parameters without an annotation are not checked, apart from NaN.
      settings: parameter name -> value.
      name: the user's name for the factory, for the message.

    Raises:
      InputError: names the setting, the expected range and the given value.
    """
    for key, value in settings.items():
        if isinstance(value, float) and math.isnan(value):
            raise InputError(f'{name}.{key}: expected a number, got NaN')
        problem = _mismatch(_annotation(function, key), value)
        if problem:
            raise InputError(f'{name}.{key}: expected {problem}, got {value!r}')


def shown_type(function: Callable[..., Any], key: str) -> type:
    """Return the type that can display every value of a setting except None: bool, float (for all numbers) or str.

    It depends on the annotation only, never on a value. Without an annotation it is str.
    """
    found = _plain_types(_annotation(function, key)) - {type(None)}
    if found == {bool}:
        return bool
    return float if found and found <= {int, float} else str


def _plain_types(hint: Any) -> set[Any]:
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return _plain_types(typing.get_args(hint)[0])
    if origin is Literal:
        return {type(choice) for choice in typing.get_args(hint)}
    if origin in (typing.Union, types.UnionType):
        return set().union(*map(_plain_types, typing.get_args(hint)))
    return {hint}


def neutral(function: Callable[..., Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the neutral values of those settings that have one."""
    notes = {name: getattr(_annotation(function, name), '__metadata__', ()) for name in names}
    return {name: note.neutral for name, found in notes.items() for note in found if isinstance(note, Since)}


def lasting(function: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are part of a key: all except those at their neutral value."""
    before = neutral(function, settings)
    return {name: value for name, value in settings.items() if name not in before or not _same(value, before[name])}


def _same(value: Any, other: Any) -> bool:
    """Return whether two values are the same setting: a tuple equals a list, 1 equals 1.0, but True does not equal 1."""
    if isinstance(value, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(value) == len(other) and all(map(_same, value, other))
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def _annotation(function: Callable[..., Any], key: str) -> Any:
    annotation = getattr(function, '__annotations__', {}).get(key, Any)
    # only this annotation is evaluated: others may refer to types that are imported for type checkers only
    return eval(annotation, function.__globals__) if isinstance(annotation, str) else annotation


def _mismatch(hint: Any, value: Any) -> str:
    """Return what the annotation expects if the value does not match it, else ''."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        kind, *notes = typing.get_args(hint)
        interval = next((note for note in notes if isinstance(note, Range)), None)
        if interval is None:
            return _mismatch(kind, value)
        expected = f'{"an integer" if kind is int else "a number"} {interval}'
        return '' if _is_number(value, kind) and value in interval else expected
    if origin is Literal:
        choices = typing.get_args(hint)
        return '' if value in choices else 'one of ' + ', '.join(map(repr, choices))
    if origin in (typing.Union, types.UnionType):
        problems = [_mismatch(option, value) for option in typing.get_args(hint)]
        return '' if '' in problems else ' or '.join(problems)
    if hint in (int, float):
        return '' if _is_number(value, hint) else f'{"an integer" if hint is int else "a number"}'
    if hint is type(None):
        return '' if value is None else 'None'
    kind = origin or hint
    if kind in (list, tuple) or kind is typing.get_origin(typing.Sequence[int]):
        return '' if isinstance(value, (list, tuple)) else 'a list'
    if inspect.isclass(kind) and kind is not Any:
        return '' if isinstance(value, kind) else f'a {kind.__name__}'
    return ''


def _is_number(value: Any, kind: type) -> bool:
    allowed = (int,) if kind is int else (int, float)
    return isinstance(value, allowed) and not isinstance(value, bool) and not math.isnan(value)

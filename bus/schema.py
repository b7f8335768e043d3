"""What a message of the bus may hold: values checked on arrival, all that is wrong told at once.

A message is a JSON table. Its schema says for each key what the value may be: a `Field` (fields.py) for a plain value,
`Items` and `Pairs` for lists and tables of such, `Table` for a table with keys of its own. Checking changes nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import BusError
from ..fields import Field, show, suggestion

MOST_BYTES = 64 << 20
"""Longest JSON message that is read."""
MOST_TOLD = 8
"""So many faults of one message are told in words."""
MOST_DEPTH = 20
"""Deepest nesting of a value whose form is free."""
DEVICE = r"[hs][1-9]\d{0,5}"
TASK = r"[a-z0-9-]{1,100}"

Complain = Callable[[str, str], None]
"""Takes the path of a value and what is wrong with it."""


@dataclass(frozen=True)
class Items:
    """A list of values of one kind, of at most so many; it is kept as a tuple."""

    of: Schema
    most: int = 1 << 20
    distinct: bool = False


@dataclass(frozen=True)
class Pairs:
    """A table of any keys that are texts with a pattern, and values of one kind."""

    keys: Field
    of: Schema
    most: int = 1 << 20


@dataclass(frozen=True)
class Table:
    """A table with these keys; the `optional` ones may be missing. `made` turns it into something."""

    keys: Mapping[str, Schema]
    optional: frozenset[str] = frozenset()
    made: Callable[..., Any] = dict
    nullable: bool = False


@dataclass(frozen=True)
class Free:
    """A table whose form another room knows: of plain values, finite numbers, and not deep."""


Schema = Field | Items | Pairs | Table | Free


@dataclass
class _Found:
    """What is wrong so far."""

    texts: list[str] = field(default_factory=list)
    more: int = 0

    def __call__(self, path: str, text: str) -> None:
        if len(self.texts) < MOST_TOLD:
            self.texts.append(f"{path}: {text}" if path else text)
        else:
            self.more += 1


def read_json(payload: str | bytes, what: str) -> dict[str, Any]:
    """Read a JSON table without keys that stand twice; raises BusError, which says that it is not `what`."""
    if len(payload) > MOST_BYTES:
        raise BusError(f"not {what}: {len(payload)} bytes; at most {MOST_BYTES} are read")
    try:
        given = json.loads(payload, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise BusError(f"not {what}: no JSON ({error})") from None
    if not isinstance(given, dict):
        raise BusError(f"not {what}: a table of keys, not {show(given)}")
    return given


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice in one table")
    return made


def checked(given: Any, schema: Table, what: str, also: Callable[[Any, Complain], None] | None = None) -> Any:
    """Return what a message holds, made as its schema says; raises BusError, with paths, for all that is wrong.

    `also` looks at the whole that was made, where each value by itself is right, and complains of what does not fit.
    """
    found = _Found()
    made = _check(given, schema, "", found)
    if also is not None and not found.texts:
        also(made, found)
    if found.texts:
        rest = f"; and {found.more} more" if found.more else ""
        raise BusError(f"not {what}: {'; '.join(found.texts)}{rest}")
    return made


def _check(value: Any, schema: Schema, path: str, complain: Complain) -> Any:
    """Return a value as its schema has it; where it is wrong, complain and return None."""
    if isinstance(schema, Field):
        try:
            return schema.check(value)
        except ValueError as error:
            complain(path, str(error))
            return None
    if isinstance(schema, Items):
        return _items(value, schema, path, complain)
    if isinstance(schema, Pairs):
        return _pairs(value, schema, path, complain)
    if isinstance(schema, Free):
        if not isinstance(value, Mapping):
            complain(path, f"must be a table of keys, not {show(value)}")
        return _free(value, path, complain)
    return _table(value, schema, path, complain)


def _items(value: Any, schema: Items, path: str, complain: Complain) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) > schema.most:
        complain(path, f"must be a list of at most {schema.most:,} values, not {show(value)}")
        return ()
    if _all_right(value, schema.of):
        made = tuple(value)
    else:
        made = tuple(_check(each, schema.of, f"{path}[{i}]", complain) for i, each in enumerate(value))
    if schema.distinct and len(set(made)) < len(made):
        complain(path, "holds a value more than once")
    return made


def _all_right(values: Collection[Any], schema: Schema) -> bool:
    """Say whether all of many plain values are right, seen in one go; they may be right also where this says no."""
    if not isinstance(schema, Field) or schema.pattern or schema.choices or schema.type not in (int, str):
        return False
    if not all(type(each) is schema.type for each in values):
        return False
    bounds = schema.minimum, schema.maximum
    return (
        schema.type is str
        or not values
        or (None not in bounds and bounds[0] <= min(values) and max(values) <= bounds[1])
    )


def _pairs(value: Any, schema: Pairs, path: str, complain: Complain) -> dict[str, Any]:
    if not isinstance(value, Mapping) or len(value) > schema.most:
        complain(path, f"must be a table of at most {schema.most:,} keys, not {show(value)}")
        return {}
    if _all_right(value, schema.keys) and _all_right(value.values(), schema.of):
        return dict(value)
    made = {}
    for key, each in value.items():
        _check(key, schema.keys, f"{path}.{show(key)}", complain)
        made[key] = _check(each, schema.of, f"{path}.{key}", complain)
    return made


def _table(value: Any, schema: Table, path: str, complain: Complain) -> Any:
    if value is None and schema.nullable:
        return None
    if not isinstance(value, Mapping):
        complain(path, f"must be a table of keys, not {show(value)}")
        return None
    within = f"{path}." if path else ""
    for key in value:
        if key not in schema.keys:
            complain(f"{within}{key}", f"unknown key{suggestion(key, schema.keys)}")
    for key in schema.keys:
        if key not in value and key not in schema.optional:
            complain(f"{within}{key}", "is missing")
    made = {key: _check(value[key], each, within + key, complain) for key, each in schema.keys.items() if key in value}
    try:
        return schema.made(**made) if isinstance(schema.made, type) else schema.made(made)
    except (BusError, TypeError) as error:  # TypeError: a key is missing, which has been told
        if isinstance(error, BusError):
            complain(path, str(error))
        return None


def _free(value: Any, path: str, complain: Complain, depth: int = 0) -> Any:
    """Return a value of free form, lists as tuples; numbers must be finite."""
    if depth > MOST_DEPTH:
        complain(path, f"nested more than {MOST_DEPTH} deep")
    elif isinstance(value, float) and not math.isfinite(value):
        complain(path, f"must be a finite number, not {value}")
    elif isinstance(value, Mapping):
        return {key: _free(each, f"{path}.{key}", complain, depth + 1) for key, each in value.items()}
    elif isinstance(value, list | tuple):
        return tuple(_free(each, f"{path}[{i}]", complain, depth + 1) for i, each in enumerate(value))
    return value

"""Declared values: what a key of a task file, or a parameter of anything with a name, may hold.

A `Field` is declared once; checking a value, the message about a wrong one, its default and the tables of the
documentation all come from that declaration. Knows nothing of files: `documents.py` says where a value stood.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "REQUIRED"})()
"""Stands for the default of a field that has none."""

NOUNS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
ITEMS = {list[int]: int, list[float]: float, list[str]: str}
PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}


@dataclass(frozen=True)
class Field:
    """One declared value.

    `type` is float, int, str, bool, list[int], list[float] or list[str]; a list may be written as its only
    item and is kept as a tuple of items that differ. `choices` are the words allowed: instead of any text
    where the type is str, besides the values of the type elsewhere. `above` and `below` are bounds that the
    value may not reach. `percent` also takes "2%" for 0.02. `pattern` is what a text (or each item) must
    match, and `form` says so in words, as it does for numbers that must be multiples of `multiple_of`. A field
    whose default is None may be null.
    """

    type: Any
    help: str = ""
    default: Any = REQUIRED
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    percent: bool = False
    pattern: str = ""
    form: str = ""
    multiple_of: int = 1

    def __post_init__(self) -> None:
        if self.type not in NOUNS and self.type not in ITEMS:
            raise ValueError(f"a field cannot be of type {self.type!r}; there are float, int, str, bool and lists")

    @property
    def required(self) -> bool:
        """True where the value must be given."""
        return self.default is REQUIRED

    @property
    def type_name(self) -> str:
        """Name the type: float, int, str, bool, list[int] and so on."""
        return self.type.__name__ if isinstance(self.type, type) and self.type in NOUNS else str(self.type)

    @property
    def unit_name(self) -> str:
        """Name the unit; empty where the value has none."""
        return self.unit or ("share" if self.percent else "")

    @property
    def default_text(self) -> str:
        """Write the default as a task file has it, or that there is none."""
        if self.required:
            return "required"
        if self.default is None:
            return "null"
        return f"[{', '.join(map(str, self.default))}]" if isinstance(self.default, tuple) else str(self.default)

    @property
    def allowed(self) -> str:
        """Say in words what the field takes, bounds and unit included."""
        if self.type is str and self.choices:
            return "one of " + ", ".join(self.choices)
        item = ITEMS.get(self.type)
        noun = f"a list of {self.form or PLURALS[item]}" if item else self.form or NOUNS[self.type]
        text = noun + self._bounds(each=item is not None)
        if self.percent:
            text += ", or a percentage such as 2%"
        if self.unit:
            text += f" ({self.unit})"
        return f"one of {', '.join(self.choices)}, or {text}" if self.choices else text

    def check(self, value: Any) -> Any:
        """Return the value as its type has it (lists as tuples); ValueError says what is allowed."""
        if value is None and self.default is None:
            return None
        if isinstance(value, str) and value in self.choices:
            return value
        item = ITEMS.get(self.type)
        if item is None:
            return self._check_one(value, self.type, value)
        items = value if isinstance(value, list | tuple) else [value]
        if not items:
            raise ValueError(f"must be {self.allowed}, not an empty list")
        checked = tuple(self._check_one(one, item, one) for one in items)
        seen = set()
        for one in checked:
            if one in seen:
                raise ValueError(f"holds {show(one)} more than once; give each once")
            seen.add(one)
        return checked

    def read(self, text: str) -> Any:
        """Return the value that a text of the command line stands for; ValueError says what is allowed."""
        return self.check(text if self.type is str else scalar(text))

    def _check_one(self, value: Any, kind: type, shown: Any) -> Any:
        if self.type is str and self.choices:
            raise ValueError(f"must be {self.allowed}, not {show(shown)}{suggestion(value, self.choices)}")
        if self.percent:
            value = _without_percent(value)
        made = _as_type(value, kind)
        if made is None or not self._within(made) or not self._matches(made):
            hint = suggestion(shown, self.choices)
            raise ValueError(f"must be {self.allowed}, not {show(shown)}{hint}")
        return made

    def _matches(self, value: Any) -> bool:
        return not self.pattern or re.fullmatch(self.pattern, value) is not None

    def _within(self, value: Any) -> bool:
        if isinstance(value, str | bool):
            return True
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (self.multiple_of == 1 or value % self.multiple_of == 0)
        )

    def _bounds(self, each: bool) -> str:
        if self.minimum is not None and self.maximum is not None:
            words = [f"from {_plain(self.minimum)} to {_plain(self.maximum)}"]
        else:
            words = ["of at least " + _plain(self.minimum)] if self.minimum is not None else []
            words += ["above " + _plain(self.above)] if self.above is not None else []
            words += ["at most " + _plain(self.maximum)] if self.maximum is not None else []
        words += ["below " + _plain(self.below)] if self.below is not None else []
        return (", each " if each else " ") + " and ".join(words) if words else ""


def declared(field: Field) -> Any:
    """Declare a dataclass's field, with its default, by a `Field`; `fields_of` finds it again."""
    if field.required:
        return dataclasses.field(metadata={"field": field})
    return dataclasses.field(default=field.default, metadata={"field": field})


def fields_of(made: Any) -> dict[str, Field]:
    """Return the `Field` of each field of a dataclass that was declared by one, by name."""
    return {f.name: f.metadata["field"] for f in dataclasses.fields(made) if "field" in f.metadata}


def scalar(text: str) -> Any:
    """Return what a plain word of YAML or of a command line stands for: null, true, false, number or text.

    The rules are those of YAML 1.2 (so `on` and `22:30` are texts), with 1_000 and 1e6 as numbers.
    """
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?\d+(_\d+)*", text) and len(text) <= 100:
        return int(text)
    if re.fullmatch(r"[-+]?(\d+(_\d+)*)?\.?\d*([eE][-+]?\d+)?", text) and re.match(r"[-+]?\.?\d", text):
        return float(text)
    return text


def finite(text: str) -> float:
    """Read a number of the command line, as the `type` of an option: one that is no number, or infinite, is refused."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, not {text}")
    return value


def split_parameters(text: str) -> tuple[str, dict[str, str]]:
    """Split 'name,key=value,key=value' into name and parameters; ValueError names the part that is wrong."""
    name, *parts = text.split(",")
    given: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key or not value:
            raise ValueError(f"{part!r} in {text!r} is not key=value")
        if key in given:
            raise ValueError(f"{key} stands twice in {text!r}")
        given[key] = value
    return name, given


def suggestion(word: Any, known: Iterable[str]) -> str:
    """Return ' (did you mean NAME?)' where one of the known names is close to the word, else nothing."""
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def show(value: Any) -> str:
    """Write a wrong value as the user would, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a table of keys"
    text = repr(value) if not isinstance(value, list | tuple) else "[" + ", ".join(map(show, value)) + "]"
    return text if len(text) <= 60 else text[:57] + "..."


def _plain(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:,g}"


def _without_percent(value: Any) -> Any:
    if isinstance(value, str) and value.endswith("%"):
        number = scalar(value[:-1].strip())
        return number / 100 if isinstance(number, int | float) and not isinstance(number, bool) else value
    return value


def _as_type(value: Any, kind: type) -> Any:
    """Return the value as exactly the type asked for, or None where it is of another kind or not finite."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value) if math.isfinite(value) else None
        except OverflowError:
            return None
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is kind else None

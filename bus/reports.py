"""Epoch reports as messages: what their header holds, and that their columns fit it; not what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ..errors import BusError
from ..fields import Field
from .messages import unpack
from .schema import DEVICE, TASK, Items, Pairs, Table, checked

VERSION = 1
"""Of the schema of reports; another one is refused."""
WHAT = "a report"

_COUNT = Field(int, minimum=0, maximum=2**63 - 1)
_TIME_NS = Field(int, minimum=-(2**62), maximum=2**62)
_PERCENT = Field(float, minimum=0)
_SPAN = Items(_TIME_NS, 2)
_COUNTS = Pairs(Field(str), _COUNT, 1000)
_MODULES = Table(
    {
        "monitor": Table(
            {"counters": _COUNTS, "probability": Field(float, minimum=0, maximum=1), "cpu_percent": _PERCENT}
        ),
        "selector": Table({"selections": _COUNT, "evicted": _COUNT, "cpu_percent": _PERCENT}),
    },
    frozenset({"monitor", "selector"}),
)
HEADER = Table(
    {
        "version": Field(int, minimum=VERSION, maximum=VERSION),
        "device": Field(str, pattern=DEVICE, form="a device's name"),
        "revision": _COUNT,
        "epoch": _COUNT,
        "sequence": _COUNT,
        "start_ns": _TIME_NS,
        "end_ns": _TIME_NS,
        "final": Field(bool),
        "gaps": Items(_SPAN),
        "taken": Items(_SPAN),
        "faults": Items(Field(str), 10_000),
        "counters": _COUNTS,
        "cpu_s": Field(float),
        "memory_bytes": _COUNT,
        "tasks": Pairs(Field(str, pattern=TASK, form="a task's name"), _MODULES),
    }
)
"""The schema of a report's header."""


def read_report(message: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return header and columns of a report; raises BusError, naming what is wrong, for what is none."""
    header, columns = unpack(message)
    made: dict[str, Any] = checked(header, HEADER, WHAT)
    if wrong := [name for name in ("gaps", "taken") if any(len(span) != 2 for span in made[name])]:
        raise BusError(f"not {WHAT}: {wrong[0]}: each must have two times")
    _fit(made["tasks"], columns)
    return made, columns


def _fit(tasks: Mapping[str, Mapping[str, Any]], columns: Mapping[str, NDArray[Any]]) -> None:
    """Raise BusError for a column that is of no module of the header, or not as long as the others of its module."""
    rows: dict[tuple[str, str], int] = {}
    for name, column in columns.items():
        task, _, rest = name.partition("/")
        module = rest.partition("/")[0]
        if module not in tasks.get(task, ()):
            raise BusError(f"not {WHAT}: its header has no module for the column {name!r}")
        if column.ndim == 0 or rows.setdefault((task, module), len(column)) != len(column):
            raise BusError(f"not {WHAT}: the column {name!r} is not as long as the others of its module")

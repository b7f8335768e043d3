"""Reports: flow records as columns of a message, named by task, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BusError
from ..monitors.records import Records

PLAIN = tuple(f.name for f in fields(Records) if f.name != "measured")
MEASURED = "measured"


def monitor_columns(task: str, records: Records) -> dict[str, NDArray[Any]]:
    """Return the columns of a monitor's records: '<task>/monitor/<column>', and 'measured/<name>' for a measure's."""
    columns = {f"{task}/monitor/{name}": getattr(records, name) for name in PLAIN}
    return columns | {f"{task}/monitor/{MEASURED}/{name}": c for name, c in records.measured.items()}


def selector_columns(task: str, columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the columns of a selector's selections: '<task>/selector/<column>'."""
    return {f"{task}/selector/{name}": column for name, column in columns.items()}


def records_of(columns: Mapping[str, NDArray[Any]], task: str) -> Records:
    """Return the records of a task's monitor from a report's columns; raises BusError where one is missing."""
    start = f"{task}/monitor/"
    try:
        plain: dict[str, Any] = {name: columns[start + name] for name in PLAIN}
    except KeyError as error:
        raise BusError(f"the report has no column {error.args[0]!r}") from None
    inner = f"{start}{MEASURED}/"
    measured = {name.removeprefix(inner): np.asarray(c) for name, c in columns.items() if name.startswith(inner)}
    return Records(**plain, measured=measured)

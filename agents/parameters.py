"""The parameters of an event or a measure, as a configuration gives them, checked against what the plug-in declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import BusError
from ..fields import Field, suggestion


def parameters_of(task: str, name: str, known: Mapping[str, Field], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an event or measure, checked; raises BusError, naming all that are wrong."""
    wrong = [f"{key} is no parameter of {name}{suggestion(key, known)}" for key in given if key not in known]
    values = {}
    for key, value in given.items():
        try:
            values[key] = known[key].check(value) if key in known else value
        except ValueError as error:
            wrong.append(f"{key} {error}")
    if wrong:
        raise BusError(f"task {task}: {'; '.join(wrong)}")
    return values

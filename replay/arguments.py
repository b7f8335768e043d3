"""The arguments of `replay` that stand in for values of a task file, held to the same bounds; SpecError names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import SpecError
from ..fields import Field
from ..tasks import LOSS


def several(what: str, given: Any, field: Field, most: int | None = None) -> tuple[Any, ...] | None:
    """Return values, or one alone, as a field of the task file takes them, None where none are given."""
    if given is None:
        return None
    values = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if not values:
        raise SpecError(f"{what}: no value is given")
    if most is not None and len(values) > most:
        raise SpecError(f"{what}: {most} can stand side by side, not {len(values)}; give fewer")
    try:
        return tuple(field.check(value.item() if isinstance(value, np.generic) else value) for value in values)
    except ValueError as error:
        raise SpecError(f"{what} {error}") from None


def losses(loss: Any) -> dict[str, float] | None:
    """Return the probabilities of links as a task file takes them, None where none are given."""
    if loss is None:
        return None
    if not isinstance(loss, Mapping):
        raise SpecError(f"loss must give a probability for each link, such as {{'s3-s6': 0.02}}, not {loss!r}")
    return {str(link): one(f"loss of {link}", chance, LOSS) for link, chance in loss.items()}


def one(what: str, given: Any, field: Field) -> Any:
    """Return a value as a field of the task file takes it, None where it is not given."""
    checked = several(what, given, field, most=1)
    return checked[0] if checked else None

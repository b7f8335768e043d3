"""Options of a command line, declared by fields: each wrong one has a message of its own, and all are told at once."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from .errors import MozartError, SpecError
from .fields import REQUIRED, Field


class Options:
    """Reads the options of a command, and collects what is wrong with them until `refuse`."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.wrong: list[str] = []

    def read(self, fields: Mapping[str, Field], several: bool = False) -> None:
        """Put values in place of the texts of options ('--rate': its field); those not given get the field's default.

        With `several`, an option takes values with commas between, each of which counts once, and becomes a list.
        """
        for option, field in fields.items():
            name = option.lstrip("-").replace("-", "_")
            text = getattr(self.args, name)
            setattr(self.args, name, None if field.required else field.default)
            if text is None:
                continue
            parts = text.split(",") if several else [text]
            with self.caught():
                values = list(dict.fromkeys(_value(part, option, field) for part in parts))
                setattr(self.args, name, values if several else values[0])

    @contextmanager
    def caught(self, option: str = "") -> Iterator[None]:
        """Collect the error of a block, which is an `option`'s where that is given, and go on behind it."""
        try:
            yield
        except MozartError as error:
            if error.exit_code != SpecError.exit_code:
                raise
            self.wrong.append(f"{option}: {error}" if option else str(error))

    def refuse_if(self, wrong: object, message: str) -> None:
        """Collect a message where something is wrong."""
        if wrong:
            self.wrong.append(message)

    def refuse(self) -> None:
        """Raise SpecError with everything that is wrong, a line each; go on where nothing is."""
        if self.wrong:
            raise SpecError("\n".join(self.wrong))


def _value(text: str, option: str, field: Field) -> object:
    """Read one value: no option takes nothing, not even one that may be left out."""
    try:
        return replace(field, default=REQUIRED).read(text)
    except ValueError as error:
        raise SpecError(f"{option} {error}") from None

"""Exit statuses are documented: every command stands in the table of docs/exit-status.md."""

from __future__ import annotations

import re
from pathlib import Path

from mozart.cli import COMMANDS, Group

DOCS = Path(__file__).resolve().parent.parent / "docs" / "exit-status.md"


def test_every_command_stands_in_the_table() -> None:
    named = set(re.findall(r"`([a-z]+(?: [a-z]+)?)`", "".join(re.findall(r"^\| (`.*?) \|", DOCS.read_text(), re.M))))
    there = {
        f"{name} {each}" if isinstance(command, Group) else name
        for name, command in COMMANDS.items()
        for each in (command.commands if isinstance(command, Group) else ("",))
    }
    assert named == there

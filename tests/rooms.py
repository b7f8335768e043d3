"""Check that imports between rooms go down only; `make check` runs this file.

A room's modules may import their own room, the rooms on lower floors, and nothing of mozart above or beside them.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FLOORS = {
    "cli": 6,
    "commands": 5,
    "live": 4,
    "controller": 3,
    "agents": 3,
    "replay": 2,
    "bus": 1,
    "selectors": 1,
    "monitors": 1,
    "placement": 1,
    "tasks": 0,
    "traces": 0,
    "topologies": 0,
}
GROUND = {
    "descriptors",
    "documents",
    "errors",
    "fields",
    "folders",
    "kernels",
    "options",
    "recordsets",
    "signals",
    "_version",
}
"""Modules below every room: they import nothing of mozart but each other."""


def room_of(path: Path) -> str:
    """Name the room that a file of the repository belongs to."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def imported_rooms(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, room) for every import of mozart's own modules in a file."""
    depth = len(path.relative_to(ROOT).parts)
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.ImportFrom) and node.level:
            module = (node.module or "").split(".") if node.module else []
            if node.level == depth:
                yield from ((node.lineno, name) for name in (module[:1] or [a.name for a in node.names]))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mozart":
            yield node.lineno, (node.module or "").split(".")[1]


def violations(root: Path = ROOT) -> Iterator[str]:
    """Yield one line for each import that goes up or sideways."""
    for path in sorted(root.rglob("*.py")):
        room = room_of(path)
        if room not in FLOORS and room not in GROUND:
            continue
        floor = FLOORS.get(room, -1)
        for line, target in imported_rooms(path):
            if target == room or target in GROUND:
                continue
            if FLOORS.get(target, 99) >= floor:
                yield f"{path.relative_to(root)}:{line}: {room} (floor {floor}) imports {target}"


def main() -> int:
    """Print every violation; exit status 1 where there is one."""
    found = list(violations())
    print("\n".join(found) or "rooms: imports go down only")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

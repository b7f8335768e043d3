"""mozart: temporally coordinated measurement for software-defined networks, after MOZART (SOSR 2016).

The package is the repository's root; each folder is a room with its own job, and rooms import downwards only
(ARCHITECTURE.md has the map). `mozart.replay(...)`, `mozart.open_run(...)` and `mozart.read(...)` are the way in for
notebooks; what they need is loaded when they are called: the command line must answer before numba is in memory.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

from ._version import __version__ as __version__


class _CallableRoom(types.ModuleType):
    """The room `mozart.replay`, which is called like the function that it is named after."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Replay a task file; see `mozart.replay.run.replay`."""
        from .replay.run import replay

        return replay(*arguments, **options)


class _Package(types.ModuleType):
    """The package itself: makes the room `replay` callable, and loads what notebooks use when they use it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "replay" and isinstance(value, types.ModuleType):
            value.__class__ = _CallableRoom
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name == "replay":
            return importlib.import_module(".replay", __name__)
        if name == "read":
            from .traces.reader import read

            return read
        if name == "open_run":
            from .live.opened import open_run

            return open_run
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


sys.modules[__name__].__class__ = _Package

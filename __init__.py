"""mozart: temporally coordinated measurement for software-defined networks, after MOZART (SOSR 2016).

The package is the repository's root; each folder is a room with its own job, and rooms import downwards only
(ARCHITECTURE.md has the map). `mozart.replay(...)` and `mozart.read(...)` are the way in for notebooks; what they
need is loaded when they are called, because the command line must answer before numba is in memory.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

from ._version import __version__ as __version__


class _Package(types.ModuleType):
    """The package itself, where `mozart.replay` is the function although a room has the same name.

    Importing anything of the room would otherwise replace the function by the room's module.
    """

    @property
    def replay(self) -> Callable[..., Any]:
        """Replay a task file; see `mozart.replay.run.replay`."""
        from .replay.run import replay

        return replay

    @replay.setter
    def replay(self, module: types.ModuleType) -> None:
        """Take no notice of the import system, which would bind the room's module here."""

    @property
    def read(self) -> Callable[..., Any]:
        """Read a trace batch by batch; see `mozart.traces.reader.read`."""
        from .traces.reader import read

        return read


sys.modules[__name__].__class__ = _Package

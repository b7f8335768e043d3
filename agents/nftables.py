"""nftables without a process: commands given to libnftables in memory.

The library opens its netlink socket when the handle is made, so the handle belongs to the network namespace in which
that was done. What a command holds is one transaction: all of it, or nothing.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from ..errors import LiveError
from .netns import network_of

LIBRARY = "libnftables.so.1"


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise LiveError(f"no {LIBRARY}; hosts need it to tag: install libnftables1 (Debian, Ubuntu)") from None
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_free"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


def quoted(name: str) -> str:
    """Return a name as nft's commands have it between quotes; raises LiveError for one that they cannot have.

    nft knows no escape: a quote within a name would end it, and what follows would be commands.
    """
    if not name or not name.isprintable() or not set(name).isdisjoint('"\\'):
        raise LiveError(f"nftables can have no name {name!r}: rename it, with letters, digits, '.', '_' and '-' only")
    return f'"{name}"'


class Nftables:
    """The nftables of one network namespace."""

    def __init__(self, netns_pid: int | None = None, netns_start: int | None = None) -> None:
        """Open a handle in the namespace of a process; raises LiveError where there is no library or no namespace."""
        library = _library()
        with network_of(netns_pid, netns_start):
            self._handle = library.nft_ctx_new(0)
        if not self._handle:
            raise LiveError("libnftables gives no handle; agents of hosts need root (CAP_NET_ADMIN)")
        library.nft_ctx_buffer_output(self._handle)
        library.nft_ctx_buffer_error(self._handle)

    def run(self, commands: str) -> str:
        """Run commands as one transaction; return what they print. Raises LiveError with what nft says."""
        if self._handle is None:
            raise LiveError("this nftables handle is closed")
        library = _library()
        failed = library.nft_run_cmd_from_buffer(self._handle, commands.encode())
        said = library.nft_ctx_get_error_buffer(self._handle).decode(errors="replace")
        printed = library.nft_ctx_get_output_buffer(self._handle).decode(errors="replace")
        if failed:
            raise LiveError(f"nftables refuses: {said.strip() or 'no reason given'}")
        return str(printed)

    def close(self) -> None:
        """Give the handle back."""
        if self._handle is not None:
            _library().nft_ctx_free(self._handle)
            self._handle = None

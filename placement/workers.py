"""Where the cells of a sweep run: in processes on the cores of this machine, or on a Dask cluster.

Both take cells with their networks and yield lines in the order in which they finish; both stop their work when the
generator is closed. This file knows nothing of what a cell is.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ..errors import MozartError, PlacementError
from .sweep import Cell, Line, Runner, run_cell

CONNECT_S = 10
"""How long to wait for a cluster, and for its first worker."""

WAIT_S = 10.0


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def in_processes(jobs: int) -> Runner:
    """Return what runs cells in so many processes, each with one solver thread."""

    def run(cells: Sequence[tuple[Cell, str]]) -> Generator[Line, None, None]:
        if not cells:
            return
        others = set(multiprocessing.active_children())
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(jobs, len(cells)), context, _end_with_parent)
        try:
            with _ctrl_c_held():
                waiting = [pool.submit(run_cell, *cell) for cell in cells]
            for future in as_completed(waiting):
                yield future.result()
            pool.shutdown()
        except BrokenProcessPool as error:
            raise MozartError(
                "a process of the sweep was ended from outside (is there enough memory for so many?); "
                "what was finished is kept, so run it again, with fewer --jobs"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
                child.join(WAIT_S)

    return run


class _ctrl_c_held:
    """While it is held, Ctrl-C waits; processes started meanwhile never hear it, and end when they are told to."""

    def __enter__(self) -> None:
        self.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def __exit__(self, *error: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self.before)


def _end_with_parent() -> None:
    """Let a worker end when its parent is gone, even where that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def on_cluster(address: str) -> Runner:
    """Return what runs cells on the Dask cluster whose scheduler has this address (needs the extra `cluster`)."""

    def run(cells: Sequence[tuple[Cell, str]]) -> Generator[Line, None, None]:
        if not cells:
            return
        with _client(address) as client:
            from distributed import as_completed as in_order_of_end

            waiting = client.map(run_cell, *zip(*cells, strict=True), pure=False)
            try:
                for _, line in in_order_of_end(waiting, loop=client.loop, with_results=True):
                    yield line
            finally:
                client.cancel(waiting)

    return run


def _client(address: str) -> Any:
    """Connect to a cluster that has a worker."""
    try:
        from distributed import Client
        from distributed.comm.addressing import parse_address, parse_host_port
    except ImportError:
        raise PlacementError("--scheduler needs Dask: pip install 'mozart[cluster]'") from None
    try:
        parse_host_port(parse_address(address)[1])
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise MozartError(f"no Dask scheduler at {address}: {error}") from error
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
    except TimeoutError:
        client.close()
        raise MozartError(f"the Dask cluster at {address} has no workers; start some: dask worker {address}") from None
    return client

"""What people see on standard error while a command works: messages, and a progress line on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .packets import PacketBatch


def say(message: str) -> None:
    """Write a message to standard error."""
    print(f"mozart: {message}", file=sys.stderr)


def watched(batches: Iterable[PacketBatch], label: str) -> Iterator[PacketBatch]:
    """Yield the batches; where standard error is a terminal, show packets, rate and time meanwhile."""
    if not sys.stderr.isatty():
        yield from batches
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label)
        packets = 0
        for batch in batches:
            packets += len(batch)
            elapsed_s = progress.tasks[task].elapsed or 0.0
            rate = f", {packets / elapsed_s:,.0f} packets/s" if elapsed_s > 0 else ""
            progress.update(task, description=f"{label} {packets:,} packets{rate}")
            yield batch

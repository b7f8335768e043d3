"""Working ahead: order, errors in their place, early stops, and a source that gives nothing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mozart.traces.ahead import AHEAD, PATIENCE_S, ahead
from mozart.traces.reader import read


def test_items_come_in_order_and_an_error_after_those_before_it() -> None:
    def source() -> Iterator[int]:
        yield from range(100)
        raise ValueError("damaged")

    taken: list[int] = []
    with pytest.raises(ValueError, match="damaged"):
        taken.extend(ahead(source()))
    assert taken == list(range(100))


def test_no_more_is_made_than_waits_and_nothing_after_the_taker_stops() -> None:
    made = []

    def source() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    items = ahead(source())
    assert next(items) == 0
    deadline = time.monotonic() + 10
    while len(made) < AHEAD + 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    assert len(made) == AHEAD + 2
    items.close()
    assert len(made) == AHEAD + 2
    assert not any(thread.name == "ahead" for thread in threading.enumerate())


@pytest.mark.parametrize("opened", [True, False], ids=["a writer that is silent", "no writer"])
@pytest.mark.parametrize("under_way", [True, False], ids=["while it waits", "at once"])
def test_a_pipe_that_gives_nothing_does_not_hold_up_who_stops(tmp_path: Path, opened: bool, under_way: bool) -> None:
    pipe = tmp_path / "trace.pcap"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR) if opened else None
    taken: list[object] = []
    try:
        with read(pipe) as trace:
            items = ahead(trace)
            taker = threading.Thread(target=lambda: taken.append(next(items, "the end")), daemon=True)
            taker.start()
            deadline = time.monotonic() + PATIENCE_S
            while (
                under_way
                and time.monotonic() < deadline
                and not any(t.name == f"read {pipe}" for t in threading.enumerate())
            ):
                time.sleep(0.001)
        taker.join(timeout=10 * PATIENCE_S)
        assert taken == ["the end"], "the end of the reader did not reach who waits for a batch"
    finally:
        os.close(writer if writer is not None else os.open(pipe, os.O_RDWR))

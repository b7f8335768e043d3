"""What `kernels.py` knows of compiling."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numba
import numpy as np
import pytest
from mozart import kernels
from mozart.agents.ring_kernels import CURSOR_WORDS, LEFT, walk_blocks
from mozart.kernels import compile_time, load_acquire, store_release
from mozart.replay.report import trace_lines
from mozart.replay.run import replay
from mozart.traces.packets import PacketBatch

SPEC = {
    "topology": {"name": "line", "n": 2},
    "traffic": {"synthetic": "caida-like", "duration_s": 0.1, "packets_per_s": 1000},
    "tasks": [
        {
            "name": "lossy",
            "selector": {"event": "loss", "threshold": 0.02, "at": "source-host"},
            "monitor": {"measure": "volume", "at": "path-switches", "memory_entries": 64},
        }
    ],
}


def test_only_what_is_compiled_counts() -> None:
    twice = numba.njit(lambda number: 2 * number)
    with compile_time() as seconds:
        assert seconds() == 0
        twice(1)
        first = seconds()
        twice(2)
        assert 0 < first == seconds()
    twice(1.5)
    assert first == seconds()


def test_a_rate_that_compiling_slowed_says_so() -> None:
    result = replay(SPEC)
    slowed = dataclasses.replace(result, seconds=40.0, compile_s=30.0)
    assert "(30.0 of 40.0 s went to compiling kernels, this first time)" in trace_lines(slowed)[0]
    assert "compiling" not in trace_lines(dataclasses.replace(slowed, compile_s=0.0))[0]
    assert slowed.to_dict()["compile_s"] == 30.0


def test_compiled_code_is_kept_apart_for_each_version_of_the_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folders = []
    for version in ("0.61.0", "0.68.1", "0.61.0"):
        monkeypatch.setattr(numba, "__version__", version)
        monkeypatch.setattr(numba.config, "CACHE_DIR", "")
        kernels._use_cache_of_this_state()
        folders.append(numba.config.CACHE_DIR)
    assert folders[0] == folders[2] != folders[1]


@numba.njit(error_model="numpy")
def hand_over(words, index):
    """Take a block whose status says that it is ours, and give it back."""
    status = load_acquire(words, index)
    first = words[index + 1]
    store_release(words, index, 7)
    return status, first


def test_a_status_is_read_before_what_it_is_about_and_written_after_it():
    words = np.array([1, 2, 3, 4], np.uint32)
    assert hand_over(words, 2) == (3, 4) and words.tolist() == [1, 2, 7, 4]
    assert orders(next(iter(hand_over.inspect_llvm().values()))) == ["acquire", "release"]


def orders(text: str) -> list[str]:
    """The orders of the atomic reads and writes of words in LLVM's text: on ARM these become ldar and stlr."""
    return re.findall(r"(?:load|store) atomic i32.* (acquire|release), align 4", text)


def test_the_status_of_a_block_is_read_and_written_so():
    nothing, cursor = np.zeros(64, np.uint8), np.zeros(CURSOR_WORDS, np.int64)
    cursor[LEFT] = -1
    batch, outgoing, skipped = PacketBatch.empty(4), np.empty(4, np.uint8), np.zeros(4, np.int64)
    words = nothing.view(np.uint32).reshape(1, -1)
    assert walk_blocks(nothing, words, 64, cursor, outgoing, *batch.columns(), 0, skipped) == 0
    (made,) = getattr(walk_blocks, "overloads").values()  # noqa: B009
    assert orders(str(made.library._get_module_for_linking())) == ["acquire", "release"]

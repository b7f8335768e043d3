"""What `kernels.py` knows of compiling."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numba
import pytest
from mozart import kernels
from mozart.kernels import compile_time
from mozart.replay.report import trace_lines
from mozart.replay.run import replay

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

"""Cleaning up: undo what runs have left behind, by their records, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import LiveError, SpecError
from .record import Recorded, recorded_runs, runs_of_root, undo
from .things import identity

Say = Callable[[str], None]


def clean(say: Say, run: str | None = None, force: bool = False, records: Path | None = None) -> bool:
    """Undo all runs whose process is gone, or the one named; with `force`, also those that still run, ending them.

    Says what was removed of each and which still run; returns whether all went. Raises SpecError for a run that has no
    record.
    """
    runs = recorded_runs(records)
    chosen = [each for each in runs if run in (None, each.id)]
    if run is not None and not chosen:
        for foreign in runs_of_root():
            if foreign.id == run:
                raise LiveError(f"{foreign}: use sudo mozart clean")
        names = ", ".join(each.id for each in runs) or "none"
        raise SpecError(f"no run {run} is recorded; there are: {names}")
    dead = [each for each in chosen if force or not each.running]
    for each in chosen:
        if each not in dead:
            say(f"run {each.id} still runs (process {each.owner['pid']}, results in {each.folder}); --force ends it")
    alive = [each for each in runs if each not in dead and each.running]
    keep = {identity(thing) for each in alive for thing in each.things if thing["kind"] != "process"}
    failures = [each.id for each in dead if not _clean_one(each, keep, say)]
    return not failures


def _clean_one(run: Recorded, keep: set[tuple[Any, ...]], say: Say) -> bool:
    undone, problems = undo(run, keep)
    say(f"run {run.id}: {f'removed {len(undone)} things' if undone else 'nothing was left'}")
    for line in undone:
        say(f"  {line}")
    for problem in problems:
        say(f"  left: {problem}")
    return not problems


def running(run: str | None = None, records: Path | None = None) -> Recorded:
    """Return the run that is under way, or the one named; raises LiveError where there is none, or more than one."""
    found = [each for each in recorded_runs(records) if each.running and run in (None, each.id)]
    if not found:
        foreign = [each for each in runs_of_root() if each.running and run in (None, each.id)]
        if foreign:
            raise LiveError("".join(f"{each}: use sudo mozart tasks\n" for each in foreign).rstrip())
        name = f"no run {run}" if run else "no run of mozart"
        raise LiveError(f"{name} is under way on this machine; start one with mozart live")
    if len(found) > 1:
        names = "".join(f"\n  {each.id}: {each.folder}" for each in found)
        raise LiveError(f"{len(found)} runs are under way; say which one with --run:{names}")
    return found[0]

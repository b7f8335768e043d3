"""Where results go: names are checked before long work, only the last folder of a path is made, one run has a folder.

A run folder is locked for as long as its run lasts, so two runs at once cannot write into it; one that holds an earlier
run is refused, unless the user wants that run replaced (`--force`). A mistyped path makes no row of new folders.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import SpecError

REPLAY, LIVE, SWEEP = "run.json", "plan.json", "cells.jsonl"
MARKS = {REPLAY: "a run", LIVE: "a live run", SWEEP: "a sweep of placements"}
"""The files that say what a folder holds."""
TABLES = ("rows", "flows", "links", "comparison")
PICTURES = ("network", "live-and-replay", "event-to-tag")
TASK_PICTURES = ("not-captured", "report-bytes", "pre-event")
PARTS = (
    *(REPLAY, LIVE, SWEEP, "request.json", "controller.conf", "sent.pcap"),
    *("plans", "reports", "observations", "logs", "broker", "spool", "traffic"),
)
"""What else a run may leave in its folder; `--force` removes these names and no others."""


def check_folder(folder: str | Path, option: str = "--out") -> None:
    """Refuse, with SpecError, a name under which no folder of results can be, before long work ends there."""
    shown = _named(folder, option)
    place = Path(folder).absolute()
    if not os.path.lexists(place):
        place = place.parent
        if not os.path.lexists(place):
            raise SpecError(f"{shown}: there is no folder {place}; make it first, or correct the name")
    if not place.is_dir():
        raise SpecError(f"{shown}: cannot be written there: {place} is not a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise SpecError(f"{shown}: cannot be written there: {place} is not yours to write to")


def check_file(path: str | Path, option: str, force: bool) -> None:
    """Refuse, with SpecError, a file that cannot be written, or that is there already and not to be replaced."""
    shown, place = _named(path, option), Path(path)
    if place.is_dir():
        raise SpecError(f"{shown}: is a folder; name a file in it")
    if not place.absolute().parent.is_dir():
        raise SpecError(f"{shown}: there is no folder {place.parent}; make it first, or correct the name")
    refuse_present([place], option, force)


def refuse_present(paths: Iterable[Path], option: str, force: bool) -> None:
    """Refuse, with SpecError, files that are there already and not to be replaced."""
    there = [path for path in paths if os.path.lexists(path)]
    if there and not force:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        exist = "exist" if len(there) > 1 else "exists"
        raise SpecError(f"{option}: {there[0]}{more} {exist}; give --force to replace what is there, or another name")


def make_folder(folder: str | Path) -> Path:
    """Make a folder where it is missing, the last one of its path alone; raises OSError as mkdir does."""
    place = Path(folder)
    place.mkdir(exist_ok=True)
    return place


def refuse_idle_force(force: bool, *outputs: tuple[str, str | Path | None]) -> None:
    """Refuse, with SpecError, `--force` without any of the outputs (option, value) that it is for."""
    if force and all(value is None for _, value in outputs):
        options = " or ".join(option for option, _ in outputs)
        raise SpecError(f"--force replaces what {options} names; give {options}, or leave --force out")


@contextmanager
def run_folder(
    folder: str | Path, force: bool = False, *, keeps: str = "", option: str = "--out", parents: bool = False
) -> Iterator[Path]:
    """Make a folder for one run and hold it until the block ends; where nothing was written, it goes again.

    `keeps` is the mark of a run that may go on in its own folder (a sweep). With `force` an earlier run is removed.
    `parents` makes the folders above too: for a name that the user did not give. Raises SpecError for a name that
    cannot be, for the folder of another run, and for one that another run is writing to.
    """
    place = Path(folder)
    if parents and not os.path.lexists(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
    check_folder(folder, option)
    made = not place.exists()
    try:
        make_folder(place)
        lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise SpecError(f"{_named(folder, option)}: cannot be written there: {error.strerror}") from error
    try:
        _lock(lock, _named(folder, option))
        _refuse_other_run(place, _named(folder, option), force, keeps)
        yield place
    finally:
        if made:
            with suppress(OSError):  # something was written
                place.rmdir()
        os.close(lock)


@contextmanager
def held(folder: str | Path) -> Iterator[None]:
    """Hold the folder of a run that has ended until the block ends; raises SpecError where the run is under way."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise SpecError(f"{folder}: cannot be read: {error.strerror}") from None
    try:
        _lock(lock, str(folder))
        yield
    finally:
        os.close(lock)


def _named(name: str | Path, option: str) -> str:
    """Return the option with the name that the user gave it; raises SpecError where that is empty."""
    if str(name) == "":
        raise SpecError(f"{option} '': the name is empty; name a place to write to, such as {option} results")
    return f"{option} {name}"


def _lock(folder: int, shown: str) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SpecError(
            f"{shown}: another run is writing there now; wait for its end, or name another folder"
        ) from None
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            raise
        # a network file system without such locks: what the folder holds is still looked at


def _refuse_other_run(place: Path, shown: str, force: bool, keeps: str) -> None:
    found = [mark for mark in MARKS if mark != keeps and os.path.lexists(place / mark)]
    if not found:
        return
    if not force:
        # a live run writes its plan first and run.json last
        what = MARKS[LIVE if LIVE in found else found[0]]
        raise SpecError(f"{shown}: holds {what} already; name another folder, or replace that run with --force")
    try:
        remove_run(place)
    except OSError as error:
        raise SpecError(f"{shown}: the run there cannot be replaced: {error.filename}: {error.strerror}") from error


def remove_run(place: Path) -> None:
    """Remove what a run has left in its folder, and nothing that has another name."""
    for name in (*PARTS, *results_in(place)):
        path = place / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def results_in(place: Path) -> Iterator[str]:
    """Yield the names that a run's tables, pictures and other results have, those of its tasks included."""
    tasks = _tasks_of(place / REPLAY)
    yield from (f"{name}.{form}" for name in TABLES for form in ("csv", "parquet"))
    yield from (f"{name}.{form}" for name in PICTURES for form in ("png", "pdf"))
    yield from (f"{task}-{name}.{form}" for task in tasks for name in TASK_PICTURES for form in ("png", "pdf"))
    yield from (f"sent-{task}.pcap" for task in tasks)


def _tasks_of(run_json: Path) -> set[str]:
    """Return the tasks of the run that a folder has; none where it has none that can be read."""
    try:
        return {Path(row["task"]).name for row in json.loads(run_json.read_text())["rows"]}
    except (OSError, ValueError, TypeError, KeyError):
        return set()

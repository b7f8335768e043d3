"""The record of a run: every bridge, interface, process, ... that it makes on this machine, written down before it is
made (a process: as soon as it has an id), on disk at once, so that it can be undone after any crash.

One line of JSON a thing, in /run/mozart/RUN/record.jsonl; the first line says whose run it is. A thing that was there
already is written down as such, and never removed. When a run ends in order, what is left of its things is removed,
then the record. Processes bear the run's id in their environment, so that one that was started and not yet written down
when the run was killed is known, too.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..agents.netns import start_tick
from ..errors import LiveError
from .things import (
    DAEMONS,
    KINDS,
    MARK,
    LeftAlone,
    Thing,
    bears_mark,
    described,
    end_processes,
    identity,
    is_there,
    remove,
)

FILE = "record.jsonl"
PHASE = "phase"
RUNNING = "running"
"""The phase of a run whose traffic flows and whose controller can be asked."""
STATE = "state.json"
"""What others may know of a run: whose it is, its process, since when."""
ROOT_RECORDS = Path("/run/mozart")


class Record:
    """The record of the run of this process; call it with each thing. A context manager."""

    def __init__(self, path: Path, folder: Path) -> None:
        """Begin a record at `path`, a folder that is not there yet; `folder` is where the run's results go."""
        self.path, self.id = path, path.name
        path.mkdir(parents=True)
        path.chmod(0o711)  # others can read the state, where they know that it is there
        self._file = os.open(path / FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._lines = 0
        self.problems: list[str] = []
        """What could not be removed at the end."""
        self.undone: list[str] = []
        """What was still there at the end, and has been removed."""
        self._before = os.environ.get(MARK)
        os.environ[MARK] = self.id
        owner = {"pid": os.getpid(), "start": start_tick(os.getpid())}
        self._write({"run": self.id, "folder": str(folder), "since_s": time.time(), **owner})
        (path / STATE).write_text(json.dumps({"run": self.id, "since_s": time.time(), **owner}))
        (path / STATE).chmod(0o644)

    @classmethod
    def open(cls, folder: Path, records: Path | None = None) -> Record:
        """Begin the record of a run with its results in `folder`; raises LiveError where that is not possible."""
        base = records or records_folder()
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(8)}"
        try:
            base.mkdir(parents=True, exist_ok=True, mode=0o700)
            if base.stat().st_uid != os.geteuid():
                raise LiveError(f"{base} belongs to somebody else; records of runs are not kept there")
            if base == ROOT_RECORDS:
                base.chmod(0o755)  # that there is a run is no secret
            return cls(base / name, folder)
        except OSError as error:
            raise LiveError(f"cannot keep a record of the run in {base}: {error.strerror}") from None

    def __call__(self, kind: str, name: str, **more: Any) -> int:
        """Write down a thing that is about to be made, or a process that was just made; return its number for `gone`.

        What each kind needs stands in things.py.
        """
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of thing; there are {', '.join(KINDS)}")
        thing = {"kind": kind, "name": str(name), **more}
        if thing.get("pid") is not None:
            thing["start"] = start_tick(thing["pid"])
        if kind == "service":
            thing["run"] = self.id
        if kind != "process" and is_there(thing):
            thing["existed"] = True
        return self._write(thing)

    def phase(self, what: str) -> None:
        """Write down what the run is at now; `Recorded.phase` has it until the next."""
        draft = self.path / f".{PHASE}"
        draft.write_text(what)
        draft.replace(self.path / PHASE)

    def gone(self, number: int) -> None:
        """Write down that a thing has been removed."""
        self._write({"gone": number})

    def _write(self, line: dict[str, Any]) -> int:
        os.write(self._file, json.dumps(line).encode() + b"\n")
        os.fsync(self._file)
        self._lines += 1
        return self._lines - 1

    def undo(self) -> None:
        """Remove what is still there of the run; what could not be removed stands in `problems`."""
        self.undone, self.problems = undo(read_record(self.path), forget=False)

    def close(self) -> None:
        """Remove what is still there of the run, then the record; where something stays, so does the record."""
        if self._file < 0:
            return
        if self._before is None:
            os.environ.pop(MARK, None)
        else:
            os.environ[MARK] = self._before
        os.close(self._file)
        self._file = -1
        undone, self.problems = undo(read_record(self.path))
        self.undone += undone

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True)
class Recorded:
    """The record of a run, as read."""

    path: Path
    folder: str
    owner: Thing
    """The process whose run it is."""
    things: tuple[Thing, ...]
    """What it has made and not removed, in order."""
    phase: str = ""
    """What it is at: `RUNNING`, or in words what it does before and after."""

    @property
    def id(self) -> str:
        """The run's id."""
        return self.path.name

    @property
    def running(self) -> bool:
        """Whether its owner still runs."""
        return is_there(self.owner)


def records_folder() -> Path:
    """Return the folder of the records of this user's runs."""
    if os.geteuid() == 0:
        return ROOT_RECORDS
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "mozart") if runtime else Path(tempfile.gettempdir(), f"mozart-{os.geteuid()}")


@dataclass(frozen=True)
class Foreign:
    """A run of root, as another user sees it."""

    id: str
    pid: int
    since_s: float
    running: bool

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since_s))
        if self.running:
            return f"run {self.id} of root is under way since {since} (process {self.pid}); only root may ask or end it"
        return f"run {self.id} of root, of {since}, ended out of order; only root may clean up after it"


def runs_of_root() -> list[Foreign]:
    """Return the runs of root that another user may know of, and not control; none for root.

    Raises LiveError where the folder of their records is closed to this user: then nobody can say.
    """
    if os.geteuid() == 0:
        return []
    try:
        paths = sorted(ROOT_RECORDS.iterdir())
        if ROOT_RECORDS.stat().st_uid != 0:
            return []
    except FileNotFoundError:
        return []
    except PermissionError:
        raise LiveError(
            f"{ROOT_RECORDS} is closed to you, so root may have runs that you cannot see; use sudo"
        ) from None
    found = []
    for path in paths:
        try:
            state = json.loads((path / STATE).read_text())
            running = start_tick(state["pid"]) == state["start"] is not None
            found.append(Foreign(path.name, int(state["pid"]), float(state["since_s"]), running))
        except (OSError, ValueError, KeyError, TypeError):  # it ends just now
            continue
    return found


def recorded_runs(records: Path | None = None) -> list[Recorded]:
    """Return the records of all runs, oldest first: of those that run, and of those that ended out of order."""
    base = records or records_folder()
    if not base.is_dir():
        return []
    if base.stat().st_uid != os.geteuid():
        raise LiveError(f"{base} belongs to somebody else; what is recorded there is not heeded")
    return [read_record(path) for path in sorted(base.iterdir()) if (path / FILE).exists()]


def read_record(path: Path) -> Recorded:
    """Read a record. Its last line may be cut off, by a crash; raises LiveError where it is not one."""
    lines = (path / FILE).read_bytes().split(b"\n")[:-1]
    try:
        read = [json.loads(line) for line in lines]
        gone = {line["gone"] for line in read if "gone" in line}
        things = tuple(t for n, t in enumerate(read) if n and n not in gone and "gone" not in t)
        if not read:  # killed before the first line: nothing was made
            return Recorded(path, "", {"kind": "process", "name": "nobody", "pid": 0, "start": None}, ())
        first = read[0]
        owner = {"kind": "process", "name": "the run itself", "pid": first["pid"], "start": first["start"]}
        if any(thing["kind"] not in KINDS or "name" not in thing for thing in things):
            raise ValueError("things of no known kind")
        return Recorded(path, first["folder"], owner, things, _phase(path))
    except (ValueError, KeyError, TypeError) as error:
        raise LiveError(f"{path / FILE}: not the record of a run ({error}); look into it, and remove it") from None


def _phase(path: Path) -> str:
    try:
        return (path / PHASE).read_text()
    except OSError:  # it has not said yet
        return "starting"


def undo(run: Recorded, keep: Collection[tuple[Any, ...]] = (), forget: bool = True) -> tuple[list[str], list[str]]:
    """Remove what a run has made and not removed, then its record; return what was removed, and what could not be.

    Without `forget` the record stays.

    1. End its processes, all together; where its owner is not this process, also the owner, and all that bear its mark.
    2. Remove the rest, last made first; not what was there before it, nor things whose `identity` is in `keep`.
    """
    processes = [thing for thing in run.things if thing["kind"] == "process"]
    if run.owner["pid"] != os.getpid():
        known = {thing["pid"] for thing in processes}
        processes += [thing for thing in (run.owner, *marked(run.id)) if thing["pid"] not in known]
    others = [thing for thing in reversed(run.things) if thing["kind"] != "process" and not thing.get("existed")]
    there = [thing for thing in processes if is_there(thing)]
    undone, problems = [described(thing) for thing in there], []
    try:
        end_processes(there)
    except LiveError as error:
        problems.append(str(error))
    for thing in others:
        if identity(thing) in keep:
            continue
        try:
            if is_there(thing):
                remove(thing)
                undone.append(described(thing))
        except LeftAlone as reason:
            undone.append(f"{described(thing)} is left alone: {reason}")
        except LiveError as error:
            problems.append(str(error))
    if forget and not problems:
        shutil.rmtree(run.path, ignore_errors=True)
    return undone, problems


def marked(run: str) -> Iterator[Thing]:
    """Yield the processes that bear a run's mark, but for this one."""
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdecimal() and bears_mark(int(path.name), run):
                name = (path / "comm").read_text().strip()
                if name not in DAEMONS and int(path.name) != os.getpid():
                    yield {"kind": "process", "name": name, "pid": int(path.name), "start": start_tick(int(path.name))}
        except OSError:  # it has ended, or is another user's
            continue

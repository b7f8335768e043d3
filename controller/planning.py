"""The plan in force: kept in the run's folder, and made anew by a process of its own when something changes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eventlet.green import subprocess

from ..errors import LiveError, SpecError
from .planned import Plan, adopt, load_plan, write_whole

PATIENCE_S = 60.0
"""How much longer than its solver's limit the planner's process may take."""


class Planning:
    """Keeps <run>/plan.json, the plan in force; a controller that comes back finds it there.

    Files of plans have the run's secret (`flow_secret`), so their owner alone can read them.
    The file has all of the state: the request that the plan follows from, its revision, and what runs where. Every plan
    that was ever in force stays in <run>/plans/REVISION.json: a run is judged by all of them.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.file = run / "plan.json"

    def first(self, request_file: Path | None) -> Plan:
        """Return the plan of the run's folder, or, in a new run, the plan of a request.

        Raises LiveError where there is neither, SpecError where no plan can be made.
        """
        if self.file.exists():
            return load_plan(self.file)
        if request_file is None:
            raise LiveError(f"{self.run} has no plan.json; name a request for a plan with --plan-request")
        try:
            request = json.loads(request_file.read_text())
        except (OSError, ValueError) as error:
            raise SpecError(f"{request_file}: cannot be read as a request for a plan: {error}") from None
        plan = self.draft({"down": [], **request, "revision": 1}, None)
        self.adopt(plan)
        return plan

    def next(self, plan: Plan, request: Mapping[str, Any]) -> Plan:
        """Return the plan of a changed request, which moves as little as possible; it is not in force yet."""
        return self.draft({**request, "revision": plan.revision + 1}, plan)

    def draft(self, request: Mapping[str, Any], before: Plan | None) -> Plan:
        """Have the planner's process make a plan; raises SpecError with what it says where it cannot."""
        self.run.mkdir(parents=True, exist_ok=True)
        asked, made = self.run / ".plan-request.json", self.run / ".plan-draft.json"
        kept = None
        if before is not None:
            document = json.loads(before.to_json())
            kept = {name: document[name] for name in ("placement", "codes", "tables", "moves")}
        write_whole(asked, json.dumps({**request, "keep": kept}).encode())
        command = [sys.executable, "-m", "mozart.controller.plan", str(asked), str(made)]
        limit_s = float(request.get("time_limit_s", 20.0)) + PATIENCE_S
        try:
            status, said = _run(command, self.run / ".planner-said.txt", limit_s)
            if status:
                raise SpecError(said or f"the planner ended with status {status}")
            return load_plan(made)
        finally:
            asked.unlink()
            made.unlink(missing_ok=True)

    def adopt(self, plan: Plan) -> None:
        """Put a plan in force: write it down, so that a controller that comes back goes on with it."""
        adopt(self.run, plan)


def _run(command: Sequence[str], errors: Path, limit_s: float) -> tuple[int, str]:
    """Run a process while other green threads go on; returns its exit status and what it wrote to standard error.

    That goes by way of a file: a green pipe can miss that its writer has ended. Raises LiveError after the limit.
    """
    with errors.open("wb") as sink:
        run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, run.pid, 0)  # it takes long: behind all that must answer
        try:
            status = run.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise LiveError(f"no plan within {limit_s:g} s") from None
        finally:
            if run.poll() is None:
                run.kill()
                run.wait()
    said = errors.read_text(errors="replace").strip()
    errors.unlink()
    return status, said

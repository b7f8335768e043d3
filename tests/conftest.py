"""What holds for all tests: what they may leave behind, what must not be skipped, what the root folder is to pytest."""

from __future__ import annotations

import os
import resource
import subprocess
import time
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from mozart.live.network import ovs_runs
from mozart.live.things import OVS_CTL
from mozart.tests.needs import lacks, required, wrongly_skipped

ROOT = Path(__file__).resolve().parent.parent
SESSION = "MOZART_TEST_SESSION"
"""The variable that all processes of this test session inherit."""
ENDS_S = 5.0
"""How long a process that was told to end may take."""
WITH_US = "multiprocessing."
"""In the command line of Python's own helper processes, which end with the process that they help."""


class RootIsNoPackage:
    """Keep pytest from importing the root's __init__.py by the folder's name, which may be no name of a package."""

    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Take the repository's root as a folder."""
        found: pytest.Collector | None = pytest.Dir.from_parent(parent, path=path) if path == ROOT else None
        return found


def pytest_configure(config: pytest.Config) -> None:
    """Mark all processes of this session, allow them no core dump, and read what must not be skipped."""
    config.pluginmanager.register(RootIsNoPackage())
    required()
    os.environ[SESSION] = uuid.uuid4().hex
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep live tests from running beside others where there are several workers (pytest -n 2)."""
    from mozart.tests.two_at_once import LiveFirst

    return LiveFirst(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a failure of a skip for something that MOZART_REQUIRE says to be there."""
    report = yield
    fail_where_required(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Make a failure of a whole module that is skipped for something that MOZART_REQUIRE says to be there."""
    report = yield
    fail_where_required(report)
    return report


def fail_where_required(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a report of a skip into one of a failure, if what is missing is required."""
    if not report.skipped or hasattr(report, "wasxfail") or not isinstance(report.longrepr, tuple):
        return
    missing = wrongly_skipped(report.longrepr[2], required())
    if missing:
        report.outcome = "failed"
        report.longrepr = f"MOZART_REQUIRE has {', '.join(sorted(missing))}; {report.longrepr[2]}"


@pytest.fixture(scope="session", autouse=True)
def nothing_stays() -> Iterator[None]:
    """Stop the Open vSwitch that tests started; fail if another process of theirs is still there at the end."""
    there = not lacks("root", "ovs") and ovs_runs()
    yield
    if not there and not lacks("root", "ovs") and ovs_runs():
        subprocess.run([OVS_CTL, "stop"], capture_output=True, check=False)
    end = time.monotonic() + ENDS_S
    while (left := processes_of_this_session()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left, f"the tests left these running: {left}"


def processes_of_this_session() -> list[str]:
    """List the other processes that inherited the mark of this session."""
    mark = f"{SESSION}={os.environ[SESSION]}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                found += [f"{folder.name} {command}"] if WITH_US not in command else []
        except OSError:
            continue  # it ended, or is another user's
    return found

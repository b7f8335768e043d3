"""What conftest.py does for all tests, tried in test sessions of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

from mozart.tests.needs import NEEDS, needs

ROOT = Path(__file__).resolve().parent.parent
LACKING = """
    import signal
    import subprocess

    import pytest
    from mozart.tests.needs import NEEDS, need, needs, run_ovs

    NEEDS["tshark"] = (lambda: False, "a program that this machine lacks")

    @needs("tshark")
    def test_marked():
        pass

    def test_called():
        need("tshark")
"""
MODULE = f"{LACKING}\n    need('tshark')\n"
STAYS = """
    import subprocess

    def test_one():
        global left
        left = subprocess.Popen(["sleep", "60"])
"""
ABORTS = """
    import signal
    import subprocess

    def test_one(tmp_path):
        done = subprocess.run(["sh", "-c", "kill -ABRT $$"], cwd=tmp_path)
        assert done.returncode == -signal.SIGABRT and not list(tmp_path.iterdir())
"""
SWITCHES = """
    from mozart.live.network import ovs_runs
    from mozart.tests.needs import run_ovs

    def test_one():
        run_ovs()
        assert ovs_runs()
"""
ALONE = """
for folder in run etc var/log var/lib; do mkdir -p /$folder/openvswitch; mount -t tmpfs none /$folder/openvswitch; done
"$@"; status=$?
pgrep -l ovs && status=7
exit $status
"""


def session(
    tmp_path: Path, *tests: str, inside: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run pytest on these files in a copy of the repository's frame, in a folder whose name is no package's."""
    clone = tmp_path / "a-clone.1"
    (clone / "tests").mkdir(parents=True)
    for name in ("__init__.py", "_version.py", "setup.cfg", "tests/conftest.py"):
        shutil.copy(ROOT / name, clone / name)
    for number, test in enumerate(tests):
        (clone / "tests" / f"test_{number}.py").write_text(textwrap.dedent(test))
    clean = {name: value for name, value in os.environ.items() if name != "MOZART_REQUIRE"}
    command = [
        *inside,
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--continue-on-collection-errors",
    ]
    return subprocess.run(
        command, cwd=clone, env={**clean, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


def test_what_is_required_is_not_skipped_and_what_stays_is_told(tmp_path: Path) -> None:
    done = session(tmp_path, LACKING, MODULE, STAYS, MOZART_REQUIRE="scapy,tshark")
    (left,) = re.findall(r"AssertionError: the tests left these running: \['(\d+) sleep 60'\]", done.stdout)[:1]
    os.kill(int(left), 9)
    assert done.returncode != 0 and "skipped" not in done.stdout
    assert done.stdout.count("MOZART_REQUIRE has tshark; ") >= 3, done.stdout
    assert "a program that this machine lacks" in done.stdout


def test_a_clone_has_any_name_and_what_is_not_required_is_skipped_with_a_reason_and_no_core_is_dumped(
    tmp_path: Path,
) -> None:
    done = session(tmp_path, LACKING, ABORTS, MOZART_REQUIRE="scapy")
    assert done.returncode == 0 and "1 passed, 2 skipped" in done.stdout, done.stdout
    assert "needs tshark: a program that this machine lacks" in done.stdout


def test_an_unknown_name_is_refused_with_those_there_are(tmp_path: Path) -> None:
    done = session(tmp_path, ABORTS, MOZART_REQUIRE="rooot")
    assert done.returncode == 4 and "MOZART_REQUIRE: no rooot; there are root," in done.stderr


@needs("root", "ovs", "namespaces")
def test_an_open_vswitch_that_tests_started_is_stopped_at_their_end(tmp_path: Path) -> None:
    own = ("unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--propagation", "private")
    done = session(tmp_path, SWITCHES, inside=(*own, "sh", "-c", ALONE, "alone"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_need_says_what_it_is() -> None:
    for name, (_, reason) in NEEDS.items():
        assert name.isalpha() and len(reason) > 5

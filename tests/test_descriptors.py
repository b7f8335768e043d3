"""What libraries print by themselves goes to a log: a command's two outputs are its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import mozart.descriptors
import pytest
from mozart.cli import main
from mozart.descriptors import libraries_apart, own_path

MOZART = [sys.executable, "-c", "import sys; from mozart.cli import main; sys.exit(main())"]
PLACE = ("place", "--generate", "tasks=5", "--json")

NOISY = '''
import ctypes, multiprocessing, os, subprocess, sys, threading
import mozart.cli
from mozart.cli import Command

def shout(whose):
    """Print as a native library does: into the buffer of C's stdout, and straight to both descriptors."""
    ctypes.CDLL(None).printf(f"{whose} buffered\\n".encode())
    os.write(1, f"{whose} one\\n".encode())
    os.write(2, f"{whose} two\\n".encode())

def add_arguments(parser): ...

def run(args):
    shout("main")
    thread = threading.Thread(target=shout, args=("thread",)); thread.start(); thread.join()
    for method in ("fork", "spawn"):
        child = multiprocessing.get_context(method).Process(target=shout, args=(method,)); child.start(); child.join()
    subprocess.run(["sh", "-c", "echo child one; echo child two >&2"])
    print('{"a": 1}')
    print("mozart: a message", file=sys.stderr)
    shout("late")
    return 0

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(__file__))
    sys.modules["noisy"] = sys.modules["__main__"]
    mozart.cli.COMMANDS["noisy"] = Command("make noise", "noisy")
    sys.exit(mozart.cli.main(["noisy"]))
'''


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a state folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def log(state: Path) -> str:
    return (state / "mozart" / "libraries.log").read_text()


def test_the_banner_of_a_solver_goes_to_the_log_and_not_into_json(state: Path) -> None:
    done = subprocess.run([*MOZART, *PLACE], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0
    assert json.loads(done.stdout)["rows"]
    assert done.stderr == ""
    if "HiGHS" in solver_banner():  # 1.16 prints one, 1.15 does not
        assert "HiGHS" in log(state)
        assert f"under mozart {' '.join(PLACE)} (process " in log(state)


def places() -> list[int]:
    """Return the inodes that descriptors 1 and 2 lead to."""
    return [os.fstat(number).st_ino for number in (1, 2)]


def solver_banner() -> str:
    code = "import highspy; highspy.Highs()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout


def test_threads_workers_and_children_print_into_the_log(state: Path, tmp_path: Path) -> None:
    script = tmp_path / "noisy.py"
    script.write_text(NOISY)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"a": 1}\n', "mozart: a message\n")
    lines = log(state).splitlines()
    for whose in ("main", "thread", "fork", "spawn", "late"):
        assert {f"{whose} one", f"{whose} two", f"{whose} buffered"} <= set(lines), whose
    assert {"child one", "child two"} <= set(lines)


def test_a_process_that_uses_mozart_has_its_descriptors_back(
    state: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sys.stdout, sys.stderr, len(list(Path("/proc/self/fd").iterdir())), places()
    with libraries_apart("a test"):
        os.write(1, b"noise\n")
        with libraries_apart("inside it"):
            os.write(2, b"more\n")
        other = threading.Thread(target=main, args=(["topology", "line", "--json"],))
        other.start()
        other.join()
        os.write(1, b"still\n")
    now = sys.stdout, sys.stderr, len(list(Path("/proc/self/fd").iterdir())), places()
    assert now == before
    said = capfd.readouterr()
    assert json.loads(said.out)["name"] == "line"
    assert said.err == ""
    assert [line for line in log(state).splitlines() if not line.startswith("--")] == ["noise", "more", "still"]


def test_an_error_in_a_command_puts_the_descriptors_back(state: Path) -> None:
    before = places()
    with pytest.raises(KeyboardInterrupt), libraries_apart("a test"):
        raise KeyboardInterrupt
    assert places() == before


def test_standard_output_has_its_name_still(state: Path, tmp_path: Path) -> None:
    """/dev/stdout is the pipe that the user made, for the command's own files too."""
    synth = [*MOZART, "trace", "synth", "--duration-s", "0.1", "--packets-per-s", "500"]
    piped = subprocess.run([*synth, "/dev/stdout"], capture_output=True, timeout=120)
    plain = subprocess.run([*synth, "-"], capture_output=True, timeout=120)
    assert piped.returncode == plain.returncode == 0
    assert piped.stdout == plain.stdout and len(plain.stdout) > 1000
    assert own_path("/dev/stdout") == Path("/dev/stdout")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_end_no_command(state: Path, closed: str) -> None:
    command = f'exec "$@" {closed}'
    done = subprocess.run(
        ["sh", "-c", command, "sh", *MOZART, "topology", "line", "--json"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and not done.stderr
    assert ">&-" in closed.replace("2>&-", "") or json.loads(done.stdout)["name"] == "line"


def test_a_reader_that_leaves_gets_no_traceback(state: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*MOZART, "--help"], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert "Traceback" not in done.stderr


def test_a_user_without_a_state_folder_loses_the_log_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "file")}
    done = subprocess.run([*MOZART, *PLACE], capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0 and json.loads(done.stdout) and not done.stderr


def test_the_log_is_the_users_own_and_has_a_bound(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mozart.descriptors, "MOST_BYTES", 100)
    for number in range(4):
        with libraries_apart(f"run {number}"):
            os.write(1, b"x" * 60 + b"\n")
    path = state / "mozart" / "libraries.log"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size + path.with_name("libraries.log.1").stat().st_size < 600

"""What a live run may never do to its machine: stop what others use, hang on a command, enter another's namespace."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mozart.agents.netns import network_of, start_tick
from mozart.agents.places import Place
from mozart.cli import main
from mozart.errors import LiveError, SpecError
from mozart.live import record as records_module
from mozart.live import things
from mozart.live.broker import Broker
from mozart.live.clean import clean, running
from mozart.live.record import Record
from mozart.live.things import OVS_CTL
from mozart.live.waiting import until
from mozart.tests.needs import needs

HERE = Path(__file__).parents[1]
DEADLINE_S = 30.0
as_root, needs_ovs = needs("root"), needs("root", "ovs")


def said(call: Callable[..., bool], **more: object) -> tuple[list[str], bool]:
    lines: list[str] = []
    done = call(lines.append, **more)
    return lines, done


# Open vSwitch


def ovs_pids() -> list[int]:
    return [pid for _, pid in things._ovs_daemons()]


@pytest.fixture
def stopped_ovs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No Open vSwitch at the beginning, and none at the end; nobody's mark in the environment."""
    if ovs_pids():
        pytest.skip("Open vSwitch runs already on this machine, and is not ours to stop")
    monkeypatch.delenv(things.MARK, raising=False)
    things.OVS_FOLDER.mkdir(parents=True, exist_ok=True)
    yield
    assert all(things._exits(name, pid) for name, pid in reversed(list(things._ovs_daemons())))


def start_ovs(mark: str | None = None) -> None:
    environment = {**os.environ, **({things.MARK: mark} if mark else {})}
    command = [OVS_CTL, "start", "--system-id=random"]
    subprocess.run(command, check=True, timeout=60, env=environment, capture_output=True)
    until(lambda: len(ovs_pids()) == 2, "Open vSwitch", DEADLINE_S)


def dead_run(base: Path) -> str:
    """The record of a run that was killed when it had written down that it starts Open vSwitch."""
    script = (
        "import sys; from pathlib import Path; from mozart.live.record import Record; import os\n"
        "record = Record.open(Path('results'), Path(sys.argv[1])); record('service', 'openvswitch')\n"
        "print(record.id, flush=True); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", script, str(base)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.fixture
def vsctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where to put an ovs-vsctl that stands in for the real one."""
    program = tmp_path / "bin" / "ovs-vsctl"
    program.parent.mkdir()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        yield program


def fail(vsctl: Path) -> None:
    """Have it fail, as it does where its database does not answer."""
    vsctl.write_text("#!/bin/sh\necho 'database connection failed' >&2\nexit 1\n")
    vsctl.chmod(0o755)


@needs_ovs
def test_an_open_vswitch_that_somebody_else_started_goes_on_whatever_fails(
    stopped_ovs: None, tmp_path: Path, vsctl: Path
) -> None:
    dead_run(tmp_path / "records")
    start_ovs()
    before = ovs_pids()
    fail(vsctl)
    _, done = said(clean, records=tmp_path / "records")
    assert done and ovs_pids() == before and all(start_tick(pid) for pid in before)


@needs_ovs
def test_ours_stops_only_where_it_is_seen_that_nobody_else_uses_it(
    stopped_ovs: None, tmp_path: Path, vsctl: Path
) -> None:
    base = tmp_path / "records"
    start_ovs(mark=dead_run(base))
    before = ovs_pids()
    fail(vsctl)
    lines, done = said(clean, records=base)
    assert not done and ovs_pids() == before
    assert "cannot be seen whether others use it" in lines[-1]
    vsctl.unlink()
    bridge = ["ovs-vsctl", "--timeout=30", "add-br", "mztheirs", "--", "set", "bridge", "mztheirs"]
    subprocess.run([*bridge, "datapath_type=netdev"], check=True, timeout=60)
    lines, done = said(clean, records=base)
    assert done and ovs_pids() == before
    assert lines[-1] == "  service openvswitch is left alone: others have bridges in it: mztheirs"
    subprocess.run(["ovs-vsctl", "--timeout=30", "del-br", "mztheirs"], check=True, timeout=60)


@needs_ovs
def test_ours_that_nobody_uses_is_stopped(stopped_ovs: None, tmp_path: Path) -> None:
    base = tmp_path / "records"
    start_ovs(mark=dead_run(base))
    lines, done = said(clean, records=base)
    assert done and lines[-1] == "  service openvswitch" and not ovs_pids()


# commands


def test_every_command_of_live_and_commands_has_a_limit() -> None:
    without = []
    for path in sorted((*HERE.glob("live/*.py"), *HERE.glob("commands/*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            name, keywords = node.func.attr, {keyword.arg for keyword in node.keywords}
            is_run = name in ("run", "check_output", "check_call", "call", "communicate") and "timeout" not in keywords
            of_module = isinstance(node.func.value, ast.Name) and node.func.value.id == "subprocess"
            of_process = isinstance(node.func.value, ast.Attribute) and node.func.value.attr == "popen"
            if (is_run and of_module) or (of_process and name == "wait" and not node.args and not keywords):
                without.append(f"{path.name}:{node.lineno}")
    assert not without


def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(things, "LIMIT_S", 0.05)
    assert things.status_of("sleep", "600") == things.TIMED_OUT
    with pytest.raises(LiveError, match="not ended within"):
        things._run("sleep", "600")


# namespaces


@as_root
def test_the_namespace_of_another_process_with_the_same_number_is_not_entered() -> None:
    pid, start = os.getpid(), start_tick(os.getpid())
    assert start is not None
    with network_of(pid, start):
        pass
    with pytest.raises(LiveError, match="another one has its number"), network_of(pid, start - 1):
        pass
    place = Place("h1", "host", "lo", pid)
    assert place.netns_start == start
    thing = {"kind": "nft", "name": "none", "family": "netdev", "pid": pid, "start": start - 1}
    assert not things.is_there(thing)
    with pytest.raises(LiveError, match="another one now"):
        things.remove(thing)


# the broker


@needs("root", "mosquitto")
def test_the_broker_is_not_root_and_works_below_a_folder_that_only_root_enters(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    broker = Broker(closed / "run" / "broker", ["h1"], lambda *thing, **more: None)
    broker.start()
    try:
        status = Path(f"/proc/{broker.process.pid}/status").read_text()
        ids = {
            line.split()[0]: line.split()[1:] for line in status.splitlines() if line[:4] in ("Uid:", "Gid:", "Grou")
        }
        assert "0" not in ids["Uid:"] + ids["Gid:"] + ids["Groups:"] and len(set(ids["Uid:"])) == 1
        files = {path.name: path.stat() for path in broker.data.iterdir()}
        assert {"passwords", "rights", "mosquitto.conf"} <= files.keys()
        assert all(str(each.st_uid) == ids["Uid:"][0] and not each.st_mode & 0o077 for each in files.values())
        others = [path for path in broker.folder.iterdir() if path != broker.data]
        assert all(path.stat().st_uid == 0 for path in (broker.folder, *others))
        until(lambda: (broker.data / "mosquitto.db").exists(), "its data", DEADLINE_S)
        broker.restart()
        assert "0" not in Path(f"/proc/{broker.process.pid}/status").read_text().split("Uid:")[1].split()[:4]
    finally:
        broker.stop()


# what another user sees


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Root's folder of records, somewhere that others can get at."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setattr(records_module, "ROOT_RECORDS", Path(folder, "mozart"))
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        yield Path(folder, "mozart")


@pytest.fixture
def as_nobody() -> Iterator[Callable[..., int]]:
    """Call the command as another user."""

    for module in ("mozart.live.operator", "paho.mqtt.client", "urllib.request"):
        importlib.import_module(module)  # the other user may not read this installation

    def call(*arguments: str) -> int:
        os.seteuid(65534)
        try:
            return main(list(arguments))
        finally:
            os.seteuid(0)

    yield call


@as_root
def test_another_user_hears_of_a_run_of_root_and_not_what_is_in_it(
    records: Path, as_nobody: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Record.open(tmp_path) as record:
        assert as_nobody("clean") == 0
        out = capsys.readouterr().out
        assert f"run {record.id} of root is under way" in out and f"process {os.getpid()}" in out and "sudo" in out
        assert "nothing" not in out
        assert as_nobody("tasks", "list") == 1
        assert f"run {record.id} of root is under way" in capsys.readouterr().err
        assert as_nobody("clean", "--run", record.id) == 1
        assert "only root" in capsys.readouterr().err
        os.seteuid(65534)
        try:
            with pytest.raises(PermissionError):
                (record.path / records_module.FILE).read_text()
            with pytest.raises(SpecError):
                clean(print, run="yesterday")
            with pytest.raises(LiveError, match="no run yesterday"):
                running("yesterday")
        finally:
            os.seteuid(0)
    assert as_nobody("clean") == 0
    assert "nothing to clean" in capsys.readouterr().out


@as_root
def test_left_overs_of_root_and_a_closed_folder_are_told(
    records: Path, as_nobody: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    name = dead_run(records)
    records.chmod(0o755)
    assert as_nobody("clean") == 1
    assert f"run {name} of root" in (out := capsys.readouterr().out) and "only root may clean up" in out
    records.chmod(0o700)
    for words in (("clean",), ("tasks", "list")):
        assert as_nobody(*words) == 1
        assert "closed to you" in capsys.readouterr().err

"""The record of a run, and undoing it: all of what was made, nothing else, also after kill -9 and done twice."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mozart.agents.netns import start_tick
from mozart.cli import main
from mozart.errors import LiveError, SpecError
from mozart.live import record as records_module
from mozart.live.clean import clean, running
from mozart.live.processes import Process
from mozart.live.record import FILE, Record, read_record, recorded_runs, undo
from mozart.live.things import MARK, is_there, remove
from mozart.live.waiting import until
from mozart.tests.needs import need, needs

DEADLINE_S = 30.0
NAME = f"mz{os.getpid() % 100_000}"
"""Start of all names that these tests make."""
SLEEP = ["sleep", "600"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)",
]


def has(*programs: str) -> bool:
    return os.geteuid() == 0 and all(
        shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin") for program in programs
    )


needs_network = needs("root", "ip", "nft")
needs_ovs = needs("root", "ovs")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "records"


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for child in started:
        child.kill()
        child.wait()


def said(function: Callable[..., object], **arguments: object) -> tuple[list[str], object]:
    lines: list[str] = []
    return lines, function(lines.append, **arguments)


def sh(command: str) -> str:
    return subprocess.run(["sh", "-ec", command], check=True, capture_output=True, text=True).stdout


def owner_died(base: Path, script: str, *arguments: str) -> None:
    """Run a script as the owner of a run, and kill it with signal 9 when it says that it is ready."""
    code = (
        "import subprocess, sys\nfrom pathlib import Path\nfrom mozart.live.record import Record\n"
        "from mozart.live.processes import Process\n"
        f"record = Record.open(Path('results'), Path({str(base)!r}))\n"
        f"{script}\nprint('ready', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == "ready\n"
        owner.kill()


def test_a_run_that_ends_in_order_leaves_neither_things_nor_record(base: Path, tmp_path: Path) -> None:
    with Record.open(tmp_path / "results", base) as record:
        folder = tmp_path / "made"
        record("folder", str(folder))
        folder.mkdir()
        (folder / "file").touch()
        number = record("file", str(tmp_path / "other"))
        record.gone(number)
        process = Process("sleeper", SLEEP, tmp_path / "log", record)
        lines = [json.loads(line) for line in (record.path / FILE).read_text().splitlines()]
        assert [line.get("kind") for line in lines] == [None, "folder", "file", None, "process"]
        assert lines[0]["folder"] == str(tmp_path / "results")
        assert lines[4]["start"] == start_tick(process.pid)
        assert os.environ[MARK] == record.id
    assert not process.running() and not folder.exists() and not record.path.exists()
    assert MARK not in os.environ
    assert record.problems == [] and record.undone == [f"process sleeper ({process.pid})", f"folder {folder}"]


def test_what_was_there_before_stays(base: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    with Record.open(tmp_path, base) as record:
        record("folder", str(theirs))
    assert theirs.exists() and record.undone == []


def test_a_pid_that_somebody_else_has_by_now_is_not_hit(
    base: Path, tmp_path: Path, children: list[subprocess.Popen[bytes]]
) -> None:
    children.append(subprocess.Popen(SLEEP))
    record = Record.open(tmp_path, base)
    record("process", "ours, long gone", pid=children[0].pid)
    path = record.path / FILE
    tick = start_tick(children[0].pid)
    path.write_text(path.read_text().replace(f'"start": {tick}', f'"start": {(tick or 0) - 1}'))
    record.close()
    assert record.undone == [] and children[0].poll() is None


def test_processes_that_do_not_listen_are_killed_all_together(base: Path, tmp_path: Path) -> None:
    record = Record.open(tmp_path, base)
    processes = [Process(f"deaf {n}", STUBBORN, tmp_path / f"log{n}", record) for n in range(4)]
    for process in processes:
        until(process.log.read_bytes, "it to be deaf", DEADLINE_S)
    record.close()
    assert [process.popen.wait() for process in processes] == [-signal.SIGKILL] * 4
    assert record.problems == []


def test_unknown_kinds_are_refused(base: Path, tmp_path: Path) -> None:
    with Record.open(tmp_path, base) as record, pytest.raises(ValueError, match="no kind of thing"):
        record("bridges", "s1")


def test_after_kill_9_processes_recorded_or_not_are_ended_and_no_others(
    base: Path, tmp_path: Path, children: list[subprocess.Popen[bytes]]
) -> None:
    children.append(subprocess.Popen(SLEEP))
    script = (
        f"first = Process('first', {SLEEP!r}, Path({str(tmp_path / 'log')!r}), record)\n"
        f"second = subprocess.Popen({SLEEP!r}, start_new_session=True)\n"
        "while not Path(f'/proc/{second.pid}/environ').read_bytes():\n"
        "    pass  # the kernel has it a moment after the program has begun\n"
        f"Path({str(tmp_path / 'pids')!r}).write_text(f'{{first.pid}} {{second.pid}}')"
    )
    owner_died(base, script)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert all(start_tick(pid) for pid in pids)
    lines, done = said(clean, records=base)
    assert done and lines[0].endswith("removed 2 things")
    assert set(lines[1:]) == {f"  process first ({pids[0]})", f"  process sleep ({pids[1]})"}
    until(lambda: not any(start_tick(pid) for pid in pids), "the processes to end", DEADLINE_S)
    assert children[0].poll() is None
    assert said(clean, records=base) == ([], True)


@needs_network
def test_after_kill_9_namespaces_interfaces_and_tables_go_and_those_of_others_stay(base: Path, tmp_path: Path) -> None:
    ours, theirs = f"{NAME}a", f"{NAME}b"
    sh(f"ip netns add {theirs}; ip link add {theirs}0 type veth peer name {theirs}1; nft add table inet {theirs}")
    try:
        script = (
            f"run = lambda line: subprocess.run(line.split(), check=True)\n"
            f"record('netns', {ours!r}); run('ip netns add {ours}')\n"
            f"record('interface', '{ours}0'); run('ip link add {ours}0 type veth peer name {ours}1')\n"
            f"record('interface', '{ours}2')\n"  # killed before it was made
            f"record('interface', '{theirs}0')\n"  # there already
            f"record('nft', {ours!r}, family='inet'); run('nft add table inet {ours}')\n"
            f"command = ['ip', 'netns', 'exec', {theirs!r}, 'sleep', '600']\n"
            f"inside = Process('inside', command, Path({str(tmp_path / 'log')!r}), record)\n"
            f"record('folder', {str(tmp_path / 'made')!r}); Path({str(tmp_path / 'made')!r}).mkdir()"
        )
        owner_died(base, script)
        assert Path(f"/sys/class/net/{ours}0").exists() and Path(f"/run/netns/{ours}").exists()
        lines, done = said(clean, records=base)
        assert done
        assert [line.split()[0] for line in lines[1:]] == ["process", "folder", "nft", "interface", "netns"]
        for gone in (f"/sys/class/net/{ours}0", f"/run/netns/{ours}", tmp_path / "made"):
            assert not Path(gone).exists()
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
        assert theirs in tables and ours not in tables
        assert Path(f"/sys/class/net/{theirs}0").exists() and Path(f"/run/netns/{theirs}").exists()
        assert recorded_runs(base) == []
    finally:
        sh(f"ip netns del {theirs}; ip link del {theirs}0; nft delete table inet {theirs}")


@needs_network
def test_a_table_in_a_namespace_is_removed_there_while_its_process_lives(base: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(["unshare", "--net", *SLEEP])
    try:
        here = Path("/proc/self/ns/net").readlink()
        until(lambda: Path(f"/proc/{process.pid}/ns/net").readlink() != here, "the namespace", DEADLINE_S)
        inside = ["nsenter", f"--net=/proc/{process.pid}/ns/net"]
        record = Record.open(tmp_path, base)
        record("nft", "mozart", family="netdev", pid=process.pid)
        subprocess.run([*inside, "nft", "add", "table", "netdev", "mozart"], check=True)
        record.close()
        assert record.undone == [f"nft mozart (in the namespace of process {process.pid})"]
        assert "mozart" not in subprocess.run([*inside, "nft", "list", "tables"], capture_output=True, text=True).stdout
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


@needs_network
def test_a_setting_of_the_kernel_is_put_back_after_kill_9_unless_somebody_changed_it_since(base: Path) -> None:
    script = (
        "path = Path('/proc/sys/net/core/somaxconn')\nbefore = int(path.read_text())\n"
        "record('setting', 'net.core.somaxconn', before=before, ours=before + 1)\npath.write_text(str(before + 1))"
    )
    parameter = Path("/proc/sys/net/core/somaxconn")
    before = int(parameter.read_text())
    try:
        owner_died(base, script)
        assert int(parameter.read_text()) == before + 1
        (run,) = recorded_runs(base)
        assert undo(run) == (["setting net.core.somaxconn"], [])
        assert int(parameter.read_text()) == before
        owner_died(base, script)
        parameter.write_text(str(before + 2))
        (run,) = recorded_runs(base)
        assert undo(run) == ([], [])
        assert int(parameter.read_text()) == before + 2
    finally:
        parameter.write_text(str(before))


@pytest.fixture
def ovs(tmp_path: Path) -> Iterator[None]:
    """Have Open vSwitch run; it is stopped afterwards only where it was started here, and nobody has bridges in it."""
    with Record.open(tmp_path, tmp_path / "ovs-records") as record:
        record("service", "openvswitch")
        Path("/var/run/openvswitch").mkdir(parents=True, exist_ok=True)
        sh("/usr/share/openvswitch/scripts/ovs-ctl start")
        yield


@needs_ovs
def test_bridges_go_after_kill_9_and_those_of_others_stay(ovs: None, base: Path) -> None:
    ours, theirs = f"{NAME}o", f"{NAME}t"
    sh(f"ovs-vsctl add-br {theirs} -- set bridge {theirs} datapath_type=netdev")
    try:
        script = (
            f"record('bridge', {ours!r})\nrecord('bridge', {theirs!r})\nrecord('bridge', '{NAME}never')\n"
            f"subprocess.run('ovs-vsctl add-br {ours} -- set bridge {ours} datapath_type=netdev'.split(), check=True)"
        )
        owner_died(base, script)
        assert is_there({"kind": "bridge", "name": ours})
        lines, done = said(clean, records=base)
        assert done and lines[1:] == [f"  bridge {ours}"]
        assert not is_there({"kind": "bridge", "name": ours}) and is_there({"kind": "bridge", "name": theirs})
    finally:
        sh(f"ovs-vsctl --if-exists del-br {theirs} -- --if-exists del-br {ours}")


@needs_ovs
def test_rules_on_a_bridge_of_others_go_after_kill_9_and_theirs_stay(ovs: None, base: Path) -> None:
    theirs, of13 = f"{NAME}t", "ovs-ofctl -O OpenFlow13"
    thing = {"kind": "rules", "name": theirs, "cookies": [0x6D7A, 0x6D7B], "groups": 0x6D7A}
    group = 0x6D7A << 16 | 3
    made = [
        f"{of13} add-group {theirs} group_id={group},type=select,bucket=output:1",
        f"{of13} add-flow {theirs} cookie=0x6d7a000000000005,ip,actions=group:{group}",
        f"{of13} add-flow {theirs} cookie=0x6d7b00001234abcd,table=3,ip,actions=goto_table:4",
    ]
    sh(f"ovs-vsctl add-br {theirs} -- set bridge {theirs} datapath_type=netdev protocols=OpenFlow10,OpenFlow13")
    try:
        sh(f"{of13} del-flows {theirs}")
        sh(f"{of13} add-group {theirs} group_id=7,type=all,bucket=output:1")
        sh(f"{of13} add-flow {theirs} cookie=0x6d7c000000000001,arp,actions=group:7")
        script = f"record(**{thing!r})\n" + "".join(f"subprocess.run({each.split()!r}, check=True)\n" for each in made)
        owner_died(base, script)
        assert is_there(thing)
        lines, done = said(clean, records=base)
        assert done and lines[1:] == [f"  rules {theirs}"]
        assert not is_there(thing)
        flows, groups = (sh(f"{of13} {what} {theirs}") for what in ("dump-flows", "dump-groups"))
        assert "0x6d7c000000000001" in flows and flows.count("cookie=") == 1
        assert "group_id=7" in groups and groups.count("group_id=") == 1
    finally:
        sh(f"ovs-vsctl --if-exists del-br {theirs}")


@needs_ovs
def test_a_setting_of_open_vswitch_goes_after_kill_9_unless_somebody_has_changed_it(ovs: None, base: Path) -> None:
    key = f"{NAME}-setting"
    script = (
        f"record('ovs-setting', {key!r}, ours=7)\n"
        f"subprocess.run('ovs-vsctl --no-wait set Open_vSwitch . other_config:{key}=7'.split(), check=True)"
    )
    thing = {"kind": "ovs-setting", "name": key, "ours": 7}
    try:
        owner_died(base, script)
        assert is_there(thing)
        (run,) = recorded_runs(base)
        assert undo(run) == ([f"ovs-setting {key}"], [])
        assert not is_there(thing)
        owner_died(base, script)
        sh(f"ovs-vsctl --no-wait set Open_vSwitch . other_config:{key}=8")
        (run,) = recorded_runs(base)
        assert undo(run) == ([], [])
        assert is_there({**thing, "ours": 8})
    finally:
        sh(f"ovs-vsctl --no-wait remove Open_vSwitch . other_config {key}")


@needs_network
def test_the_priority_of_a_session_goes_back_after_kill_9_unless_somebody_has_changed_it(
    base: Path, children: list[subprocess.Popen[bytes]]
) -> None:
    children.append(subprocess.Popen(SLEEP, start_new_session=True))
    pid = children[0].pid
    value = Path(f"/proc/{pid}/autogroup")
    if not value.exists():
        pytest.skip("the kernel does not share processors out among sessions")
    script = f"record('session', 'sleep', pid={pid}, before=0, ours=-3)\nPath({str(value)!r}).write_text('-3')"
    for now, undone, after in ((-3, ["session sleep"], "nice 0"), (-4, [], "nice -4")):
        owner_died(base, script)
        value.write_text(str(now))
        (run,) = recorded_runs(base)
        assert undo(run) == (undone, [])
        assert value.read_text().strip().endswith(after)


@pytest.fixture
def names_of_switches() -> Iterator[None]:
    """Have s1, h1, ... for this test alone, among all that run on this machine."""
    with Path("/tmp/mozart-live.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@needs_ovs
@needs("root", "mnexec")
@pytest.mark.parametrize("lines", [4, 9, 14, 100])
def test_a_network_killed_while_it_is_made_is_undone(
    ovs: None, names_of_switches: None, base: Path, tmp_path: Path, lines: int
) -> None:
    need("mininet")

    def state() -> tuple[set[str], set[str]]:
        bridges = subprocess.run(["ovs-vsctl", "list-br"], capture_output=True, text=True).stdout.split()
        ours = re.compile(r"s[1-3](-eth\d+|-mon)?")
        interfaces = {path.name for path in Path("/sys/class/net").iterdir() if ours.fullmatch(path.name)}
        return interfaces, {bridge for bridge in bridges if ours.fullmatch(bridge)}

    if any(state()):
        pytest.skip(f"there already: {state()}")
    code = (
        "import sys\nfrom pathlib import Path\nfrom mozart.live.record import Record\n"
        "from mozart.live.network import MininetNetwork\nfrom mozart.topologies.catalogue import load\n"
        f"record = Record.open(Path('out'), Path({str(base)!r}))\n"
        "MininetNetwork(load('line,n=3'), 16653, record).start()\nprint('ready', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        if lines == 100:
            assert owner.stdout is not None and owner.stdout.readline() == b"ready\n"
        else:
            until(
                lambda: any(path.read_bytes().count(b"\n") >= lines for path in base.glob(f"*/{FILE}")),
                "the record to be so long",
                DEADLINE_S,
            )
        owner.kill()
    processes = [thing for thing in recorded_runs(base)[0].things if thing["kind"] == "process"]
    assert len(processes) >= 2
    assert said(clean, records=base)[1]
    until(lambda: not any(state()), "the network to be gone", DEADLINE_S)
    assert not any(is_there(process) for process in processes) and recorded_runs(base) == []


def test_a_run_under_way_is_left_alone_unless_forced(base: Path, children: list[subprocess.Popen[bytes]]) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom mozart.live.record import Record\n"
        f"Record.open(Path('out'), Path({str(base)!r}))\nprint(flush=True)\nsys.stdin.read()"
    )
    children.append(subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    assert children[0].stdout is not None
    children[0].stdout.readline()
    run = running(records=base)
    assert (run.folder, run.owner["pid"]) == ("out", children[0].pid)
    lines, done = said(clean, records=base)
    assert done and lines == [f"run {run.id} still runs (process {children[0].pid}, results in out); --force ends it"]
    assert children[0].poll() is None
    with pytest.raises(SpecError, match=f"no run yesterday is recorded; there are: {run.id}"):
        clean(print, run="yesterday", records=base)
    assert said(clean, records=base, run=run.id, force=True)[1]
    assert children[0].wait(DEADLINE_S) < 0
    assert recorded_runs(base) == []
    with pytest.raises(LiveError, match="no run of mozart is under way"):
        running(records=base)


def test_what_a_run_under_way_has_too_is_not_removed(base: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    owner_died(base, f"record('folder', {str(shared)!r})")
    with Record.open(tmp_path, base) as record:
        record("folder", str(shared))
        shared.mkdir()
        lines, done = said(clean, records=base)
        assert done and shared.exists() and any("nothing was left" in line for line in lines)
    assert not shared.exists()


def test_records_that_a_crash_cut_off_are_read_and_strange_ones_are_named(base: Path, tmp_path: Path) -> None:
    owner_died(base, f"record('file', {str(tmp_path / 'made')!r}); Path({str(tmp_path / 'made')!r}).touch()")
    path = recorded_runs(base)[0].path
    with (path / FILE).open("a") as file:
        file.write('{"kind": "fi')
    assert [thing["name"] for thing in read_record(path).things] == [str(tmp_path / "made")]
    undo(read_record(path))
    assert not (tmp_path / "made").exists() and not path.exists()
    path.mkdir()
    (path / FILE).touch()
    assert read_record(path).things == () and not read_record(path).running
    for text in (
        "[]\n",
        "{}\n",
        "no\n",
        '{"run": "x", "pid": 1, "start": 2, "folder": "x"}\n{"kind": "x", "name": 1}\n',
    ):
        (path / FILE).write_text(text)
        with pytest.raises(LiveError, match="not the record of a run"):
            read_record(path)


def test_what_cannot_be_removed_is_said_and_the_record_stays(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(thing: object) -> None:
        raise LiveError("it is stuck")

    owner_died(
        base, f"for n in '12': record('file', {str(tmp_path)!r} + '/' + n); (Path({str(tmp_path)!r}) / n).touch()"
    )
    monkeypatch.setattr(
        records_module, "remove", lambda thing: fails(thing) if thing["name"][-1] == "2" else remove(thing)
    )
    lines, done = said(clean, records=base)
    assert not done and lines[-1] == "  left: it is stuck"
    assert not (tmp_path / "1").exists() and (tmp_path / "2").exists()
    monkeypatch.undo()
    assert said(clean, records=base)[1] and not (tmp_path / "2").exists()


def test_the_command_cleans_and_says_so(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(records_module, "records_folder", lambda: base)
    assert main(["clean"]) == 0
    assert "nothing to clean" in capsys.readouterr().out
    owner_died(base, f"record('file', {str(tmp_path / 'made')!r}); Path({str(tmp_path / 'made')!r}).touch()")
    assert main(["clean"]) == 0
    assert f"  file {tmp_path / 'made'}\n" in capsys.readouterr().out
    assert main(["clean"]) == 0
    assert not (tmp_path / "made").exists()

"""The things that a run makes on a machine: whether one is there still, and how it goes away.

A thing is a mapping with `kind`, `name` and what its kind needs:

| kind | name | more |
|---|---|---|
| process | what it is | `pid`, and `start`, the clock tick at which it began: another with its pid is not hit |
| bridge | a bridge of Open vSwitch | |
| rules | a bridge of somebody else | `cookies`, `groups`: upper 16 bits of those of our entries and groups |
| interface | a network interface | |
| netns | a named network namespace | |
| nft | a table of nftables | `family`; `pid` and `start` of a process whose namespace it is in, or none: this one |
| file, folder | its path | |
| service | openvswitch | `run`: its daemons have that run's mark in their environment, else they are not ours |
| setting | a kernel parameter, such as net.core.rmem_default | `ours`, and `before`: what goes back |
| session | a process whose session's nice value was changed | `pid`, `start`, `ours`, and `before`: what goes back |
| ovs-setting | a key of Open vSwitch's other_config that was not set | `ours` |
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..agents.netns import start_tick
from ..agents.priority import session_priority, set_session_priority
from ..errors import LiveError

Thing = Mapping[str, Any]

END_S = 3.0
"""How long processes may take to end when asked, before they are killed."""
MISSING, TIMED_OUT = 127, 124
"""Status of a command that is not installed, as shells have it, and of one that took longer than `LIMIT_S`."""
LIMIT_S = 60.0
"""How long a command may take; those that ask Open vSwitch have shorter limits of their own."""
MARK = "MOZART_RUN"
"""The environment variable with the id of the run that started a process."""
DAEMONS = ("ovsdb-server", "ovs-vswitchd")
"""Programs that bear the mark where a run started them, and are undone as a service, not as processes."""
OVS_FOLDER = Path("/var/run/openvswitch")
OVS_DATABASES = {"Open_vSwitch", "_Server"}
"""Of an Open vSwitch that serves its bridges and nothing else."""
OVS_ROW = ("Open_vSwitch", ".")
"""Table and row of what holds for all of Open vSwitch."""
OVS_CTL = "/usr/share/openvswitch/scripts/ovs-ctl"


class LeftAlone(LiveError):
    """A thing that a run has made and that others use by now, so that it stays; the reason."""


def is_there(thing: Thing) -> bool:
    """Say whether a thing is on this machine now."""
    there, _ = KINDS[thing["kind"]]
    return there(thing)


def remove(thing: Thing) -> None:
    """Remove a thing that is there; raises LiveError, with the reason, where that fails."""
    _, gone = KINDS[thing["kind"]]
    try:
        gone(thing)
    except OSError as error:
        raise LiveError(f"cannot remove {described(thing)}: {error}") from None


def identity(thing: Thing) -> tuple[Any, ...]:
    """Return what says which thing it is: two records of one thing have the same. Not for processes."""
    return tuple(thing.get(name) for name in ("kind", "name", "family", "pid", "start"))


def described(thing: Thing) -> str:
    """Return a thing in words."""
    where = f" ({thing['pid']})" if thing["kind"] == "process" else ""
    if thing["kind"] == "nft" and thing.get("pid") is not None:
        where = f" (in the namespace of process {thing['pid']})"
    return f"{thing['kind']} {thing['name']}{where}"


# processes


def end_processes(things: Iterable[Thing]) -> None:
    """End processes together: ask them, wait, and kill those that do not listen. Ended ones are passed over.

    Each is held by a descriptor while it is compared with what is recorded, so that no other process can be hit.
    """
    held = {}
    for thing in things:
        try:
            descriptor = os.pidfd_open(thing["pid"])
        except ProcessLookupError:
            continue
        if _process_there(thing):
            held[descriptor] = thing
        else:
            os.close(descriptor)
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            waiting = set(held) - _ended(held, 0.0)
            for descriptor in waiting:
                signal.pidfd_send_signal(descriptor, number)
            _ended(waiting, END_S)
        left = [described(held[descriptor]) for descriptor in set(held) - _ended(held, 0.0)]
    finally:
        for descriptor in held:
            os.close(descriptor)
    if left:
        raise LiveError(f"{', '.join(left)}: does not end, although it was killed")


def _ended(descriptors: Iterable[int], within_s: float) -> set[int]:
    """Wait until all processes have ended, at most so long, and return those that have."""
    poll, left, ended = select.poll(), set(descriptors), set[int]()
    for descriptor in left:
        poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + within_s
    while left and (ready := poll.poll(max(deadline - time.monotonic(), 0.0) * 1000)):
        for descriptor, _ in ready:
            poll.unregister(descriptor)
            ended.add(descriptor)
            left.discard(descriptor)
    return ended


def _process_there(thing: Thing) -> bool:
    return thing.get("start") is not None and start_tick(thing["pid"]) == thing["start"]


# the other kinds


def _interface_there(thing: Thing) -> bool:
    return Path("/sys/class/net", thing["name"]).exists()


def _bridge_there(thing: Thing) -> bool:
    status = _run("ovs-vsctl", "--timeout=10", "br-exists", thing["name"], fails=False)
    if status not in (0, 2, MISSING):  # its database outlives it, bridges in it
        raise LiveError(f"cannot see whether there is a bridge {thing['name']}: Open vSwitch does not answer; start it")
    return status == 0


def _remove_bridge(thing: Thing) -> None:
    answers = _ovs_answers()
    _run("ovs-vsctl", "--timeout=20", *([] if answers else ["--no-wait"]), "--if-exists", "del-br", thing["name"])


def _rules_there(thing: Thing) -> bool:
    if not _ovs_answers() or not _bridge_there(thing):
        return False  # flow entries live as long as the daemon
    flows = (_ofctl("dump-flows", thing["name"], cookie) for cookie in _cookies(thing))
    return any("cookie=" in said for said in flows) or bool(_our_groups(thing))


def _remove_rules(thing: Thing) -> None:
    for cookie in _cookies(thing):
        _ofctl("del-flows", thing["name"], cookie)
    for number in _our_groups(thing):
        _ofctl("del-groups", thing["name"], f"group_id={number}")


def _cookies(thing: Thing) -> list[str]:
    """Return what ovs-ofctl calls the flow entries with our cookies."""
    return [f"cookie={prefix << 48:#x}/{0xFFFF << 48:#x}" for prefix in thing["cookies"]]


def _our_groups(thing: Thing) -> list[int]:
    numbers = map(int, re.findall(r"group_id=(\d+)", _ofctl("dump-groups", thing["name"])))
    return [number for number in numbers if number >> 16 == thing["groups"]]


def _ofctl(command: str, bridge: str, *what: str) -> str:
    """Run ovs-ofctl and return what it says; raises LiveError where it fails."""
    return _said("ovs-ofctl", "--timeout=20", "-O", "OpenFlow13", command, bridge, *what)


def _remove_interface(thing: Thing) -> None:
    if _run("ip", "link", "delete", thing["name"], fails=False) and _interface_there(thing):
        raise LiveError(f"cannot remove {described(thing)}: ip link delete {thing['name']} fails")


def _netns_there(thing: Thing) -> bool:
    return Path("/run/netns", thing["name"]).exists()


def _remove_netns(thing: Thing) -> None:
    _run("ip", "netns", "delete", thing["name"])


def _nft(thing: Thing, *words: str, fails: bool = True) -> int:
    """Run nft in the namespace of a thing; raises ProcessLookupError where that went with its last process.

    The namespace is held by a descriptor while its process is compared with what is recorded: no other is entered.
    """
    command = ["nft", *words, "table", thing["family"], thing["name"]]
    if thing.get("pid") is None:
        return _run(*command, fails=fails)
    try:
        namespace = os.open(f"/proc/{thing['pid']}/ns/net", os.O_RDONLY)
    except FileNotFoundError:
        raise ProcessLookupError(f"process {thing['pid']} has ended") from None
    try:
        if not _process_there(thing):
            raise ProcessLookupError(f"process {thing['pid']} is another one now")
        return _run("nsenter", f"--net=/proc/self/fd/{namespace}", *command, fails=fails, descriptor=namespace)
    finally:
        os.close(namespace)


def _nft_there(thing: Thing) -> bool:
    try:
        return _nft(thing, "list", fails=False) == 0
    except ProcessLookupError:
        return False


def _remove_nft(thing: Thing) -> None:
    _nft(thing, "delete")


def _path_there(thing: Thing) -> bool:
    return os.path.lexists(thing["name"])


def _remove_file(thing: Thing) -> None:
    Path(thing["name"]).unlink(missing_ok=True)


def _remove_folder(thing: Thing) -> None:
    shutil.rmtree(thing["name"])


def _ovs_answers() -> bool:
    return _run("ovs-appctl", "--timeout=5", "version", fails=False) == 0


def _ovs_daemons() -> Iterator[tuple[str, int]]:
    """Yield (name, process id) of the daemons that `ovs-ctl stop` would end."""
    for name in DAEMONS:
        try:
            pid = int((OVS_FOLDER / f"{name}.pid").read_text())
        except (OSError, ValueError):
            continue
        if start_tick(pid) is not None:
            yield name, pid


def bears_mark(pid: int, run: str) -> bool:
    """Say whether a process, or one that started it, was started by a run; False also where that cannot be seen."""
    try:
        return f"{MARK}={run}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _service_there(thing: Thing) -> bool:
    return any(bears_mark(pid, thing["run"]) for _, pid in _ovs_daemons()) if thing.get("run") else False


def _stop_service(thing: Thing) -> None:
    """Stop Open vSwitch where nobody else can need it; raises LeftAlone where somebody does.

    1. All of its daemons bear the run's mark. 2. It has no bridge, 3. no manager, and 4. no database but its own.
    What cannot be seen is not taken for empty: then LiveError says so, and it goes on.
    """
    others = [name for name, pid in _ovs_daemons() if not bears_mark(pid, thing["run"])]  # 1
    if others:
        raise LeftAlone(f"somebody else started {', '.join(others)}")
    try:
        bridges = _said("ovs-vsctl", "--timeout=10", "list-br").split()  # 2
        managers = _said("ovs-vsctl", "--timeout=10", "get-manager").split()  # 3
        answer = _said("ovs-appctl", "--timeout=10", "-t", "ovsdb-server", "ovsdb-server/list-dbs").split()  # 4
    except LiveError as error:
        raise LiveError(
            f"Open vSwitch goes on, because it cannot be seen whether others use it; `{OVS_CTL} stop` ends it ({error})"
        ) from None
    for what, found in (("bridges", bridges), ("managers", managers), ("databases", set(answer) - OVS_DATABASES)):
        if found:
            raise LeftAlone(f"others have {what} in it: {', '.join(sorted(found))}")
    if not all(_exits(name, pid) for name, pid in reversed(list(_ovs_daemons()))):
        _run(OVS_CTL, "stop")


def _exits(daemon: str, pid: int) -> bool:
    """Ask a daemon of Open vSwitch to end, and say whether it did in time.

    `ovs-ctl stop` does so too, and then waits for a minute where nobody reaps it, as in a container without an init.
    """
    _run("ovs-appctl", "--timeout=10", "-t", daemon, "exit", fails=False)
    deadline = time.monotonic() + END_S
    while start_tick(pid) is not None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


def _parameter(thing: Thing) -> Path:
    return Path("/proc/sys", *thing["name"].split("."))


def _setting_there(thing: Thing) -> bool:
    return _parameter(thing).read_text().split() == str(thing["ours"]).split()


def _restore_setting(thing: Thing) -> None:
    _parameter(thing).write_text(str(thing["before"]))


def _session_there(thing: Thing) -> bool:
    try:
        return _process_there(thing) and session_priority(thing["pid"]) == thing["ours"]
    except OSError:  # it has ended just now
        return False


def _restore_session(thing: Thing) -> None:
    set_session_priority(thing["pid"], thing["before"])


def _ovs_setting_there(thing: Thing) -> bool:
    key = f"other_config:{thing['name']}"
    done = _finished("ovs-vsctl", "--timeout=10", "--if-exists", "get", *OVS_ROW, key)
    return done.returncode == 0 and done.stdout.strip(' "\n') == str(thing["ours"])


def _remove_ovs_setting(thing: Thing) -> None:
    _run("ovs-vsctl", "--timeout=10", "--no-wait", "remove", *OVS_ROW, "other_config", thing["name"])


def _finished(*command: str, descriptor: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command, within `LIMIT_S`; it may have one descriptor of ours."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL,
            pass_fds=() if descriptor is None else (descriptor,),
        )  # fmt: skip
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, MISSING, "", f"{command[0]} is not installed")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, TIMED_OUT, "", f"it has not ended within {LIMIT_S:g} s")


def status_of(*command: str) -> int:
    """Run a command and return its status: MISSING, TIMED_OUT where it is not installed, takes too long."""
    return _finished(*command).returncode


def _run(*command: str, fails: bool = True, descriptor: int | None = None) -> int:
    """Run a command and return its status; with `fails`, raise LiveError with what it says where that is not 0."""
    done = _finished(*command, descriptor=descriptor)
    if fails and done.returncode:
        raise LiveError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()}")
    return done.returncode


def _said(*command: str) -> str:
    """Run a command and return what it says; raises LiveError where it fails."""
    done = _finished(*command)
    if done.returncode:
        raise LiveError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


KINDS: dict[str, tuple[Callable[[Thing], bool], Callable[[Thing], None]]] = {
    "process": (_process_there, lambda thing: end_processes([thing])),
    "bridge": (_bridge_there, _remove_bridge),
    "rules": (_rules_there, _remove_rules),
    "interface": (_interface_there, _remove_interface),
    "netns": (_netns_there, _remove_netns),
    "nft": (_nft_there, _remove_nft),
    "file": (_path_there, _remove_file),
    "folder": (_path_there, _remove_folder),
    "service": (_service_there, _stop_service),
    "setting": (_setting_there, _restore_setting),
    "session": (_session_there, _restore_session),
    "ovs-setting": (_ovs_setting_there, _remove_ovs_setting),
}

"""The broker of a run: a mosquitto of its own, on loopback, with a user for each device and what each may say and hear.

What it has taken in and not delivered, and what is retained, it writes to its folder every second or two, so that it
comes back with it after a crash; bus/client.py sends again what may have come in since.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import pwd
import resource
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ..bus.access import KEEPALIVE_S, BrokerAccess
from ..bus.topics import CONTROLLER, OPERATOR, config, reply, report, request, select, stats, status
from ..errors import LiveError
from .ports import free_port, holder, listeners
from .processes import Process, Recorder
from .waiting import until

HOST = "127.0.0.1"
START_S = 10.0
TRIES = 5
"""How often another free port is tried where somebody is quicker."""
ITERATIONS = 101
"""PBKDF2 rounds of a password's hash, as mosquitto_passwd has them: the passwords are random, 256 bits."""
FREE_USERS = range(61184, 65520)
"""User ids that systemd, too, gives to services without a user of their own: they are nobody's."""


class Broker:
    """One mosquitto. Its folder is readable by its owner alone; in it, `data` has mosquitto's configuration and data.

    Where we are root, mosquitto runs as a user who has nothing but `data`. It works in that folder, whose path may lead
    through folders that only root can enter, and names its files without their path.

    `access` is how to speak to it, as any of its users; hand each process what it needs (`access.only(...)`).
    """

    def __init__(
        self,
        folder: Path,
        devices: Sequence[str],
        record: Recorder,
        port: int | None = None,
        log: Path | None = None,
        start_s: float = START_S,
        keepalive_s: int = KEEPALIVE_S,
    ) -> None:
        """Prepare a broker for the agents of these devices; without `port`, a free one is taken when it starts.

        It logs to `log`, or in its folder, which goes away with the run. It must listen within `start_s`, and
        takes for dead who says nothing for one and a half times `keepalive_s`.
        """
        self.keepalive_s = keepalive_s
        self.folder, self.record, self.start_s = folder, record, start_s
        self.devices = [device for device in devices if device not in (CONTROLLER, OPERATOR)]
        self.log = log or folder / "mosquitto.log"
        self._asked_port = port
        self.passwords = {user: secrets.token_urlsafe(32) for user in (CONTROLLER, OPERATOR, *self.devices)}
        self.port = port or 0
        self.data = folder / "mosquitto"
        self._user = free_user() if os.geteuid() == 0 else None
        self._process: Process | None = None

    @property
    def access(self) -> BrokerAccess:
        """Where it is, and all users' passwords."""
        return BrokerAccess(HOST, self.port, self.passwords, keepalive_s=self.keepalive_s)

    @property
    def process(self) -> Process:
        """The mosquitto that runs, or ran last; raises LiveError before there was one."""
        if self._process is None:
            raise LiveError("the broker has not been started")
        return self._process

    def start(self) -> None:
        """Start it; it answers when this returns.

        Raises LiveError where mosquitto is missing, does not start, or the port that was asked for is in use.
        """
        program = mosquitto()
        if program is None:
            raise LiveError("mosquitto is not installed; `mozart doctor` says what a live run needs")
        if self._asked_port and (who := holder(self._asked_port)):
            raise LiveError(
                f"port {self._asked_port}, which the broker was to have, is in use by {who}: end that, or name another "
                "port, or none for a free one"
            )
        self.record("folder", str(self.folder))
        for tries_left in reversed(range(TRIES)):
            self.port = self.port or free_port()
            self._write_files()
            try:
                self._launch(program)
                return
            except LiveError:
                self.stop()
                if self._asked_port or not tries_left or not holder(self.port):
                    raise
                self.port = 0

    def stop(self) -> None:
        """End it in order: it writes down what it has not delivered."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()

    def restart(self) -> None:
        """Start it again, on the same port and with the data that it has written; ends it first where it runs."""
        self.stop()
        self._launch(self.process.arguments[0])

    def _launch(self, program: str) -> None:
        command = [program, "-c", "mosquitto.conf"]
        with most_files():
            process = self._process = Process(
                "mosquitto", command, self.log, self.record, first=True, folder=self.data, user=self._user
            )
        until(lambda: process.pid in listeners(self.port), "mosquitto to listen", self.start_s, process.check)

    def _write_files(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self.data.mkdir(exist_ok=True)
        self.data.chmod(0o700)
        write_private(self.data / "passwords", password_lines(self.passwords))
        write_private(self.data / "rights", right_lines(self.devices))
        write_private(self.data / "mosquitto.conf", self._configuration())
        if self._user is not None:
            for path in (self.data, *self.data.iterdir()):
                os.chown(path, self._user, self._user, follow_symlinks=False)

    def _configuration(self) -> list[str]:
        return [
            f"listener {self.port} {HOST}",
            "allow_anonymous false",
            "password_file passwords",
            "acl_file rights",
            "persistence true",
            "persistence_location ./",
            "autosave_interval 1",
            "max_queued_messages 0",  # no bound: reports wait for the controller as long as it takes
            "max_inflight_messages 0",
            "set_tcp_nodelay true",
            "sys_interval 0",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
        ]


@contextlib.contextmanager
def most_files() -> Iterator[None]:
    """Let a process that is started meanwhile have as many files as this user may: each device has a connection.

    It is inherited, because what is another user's process by then cannot be given more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def mosquitto() -> str | None:
    """Return the path of the program; the paths of ordinary users may lack the folder that Debian puts it in."""
    return shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


def free_user() -> int:
    """Return a user id that nobody has and no process runs as; that of nobody where this machine has no such ids.

    A container may have few: one that it does not have cannot be looked up, only tried.
    """
    named = {entry.pw_uid for entry in pwd.getpwall()}
    used = {path.stat().st_uid for path in Path("/proc").iterdir() if path.name.isdecimal() and path.exists()}
    known = [range(int(first), int(first) + int(count)) for first, _, count in _user_map()]
    free = [user for user in FREE_USERS if user not in named | used and any(user in some for some in known)]
    return secrets.choice(free) if free else pwd.getpwnam("nobody").pw_uid


def _user_map() -> list[list[str]]:
    """Return the lines of this user namespace's map, in words: first id, first id outside, how many."""
    return [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]


def password_lines(passwords: Mapping[str, str]) -> list[str]:
    """Return the lines of mosquitto's password file: PBKDF2 with SHA-512, a salt of 12 bytes, as its manual has it."""
    lines = []
    for user, password in passwords.items():
        salt = os.urandom(12)
        digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
        lines.append(f"{user}:$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}")
    return lines


def right_lines(devices: Iterable[str]) -> list[str]:
    """Return the lines of mosquitto's ACL file. What is not listed there is denied."""
    rights: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
        CONTROLLER: (
            (config("+"), reply("+"), status(CONTROLLER)),
            (report("+"), status("+"), stats("+"), request("+")),
        ),
        OPERATOR: ((request(OPERATOR), status(OPERATOR)), (reply(OPERATOR), status("+"), stats("+"))),
    }
    for device in devices:
        says = (status(device), report(device), stats(device), select("+", device))
        rights[device] = (says, (config(device), select(device, "+")))
    lines = []
    for user, (writes, reads) in rights.items():
        lines.append(f"user {user}")
        lines += [f"topic write {topic}" for topic in writes] + [f"topic read {topic}" for topic in reads]
    return lines


def write_private(path: Path, lines: Iterable[str]) -> None:
    """Write a file that its owner alone can read, at no time anybody else."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"{line}\n" for line in lines)

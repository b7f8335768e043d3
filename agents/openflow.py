"""OpenFlow 1.3, as much as an agent needs: adding and removing its tag rules over a switch's management socket.

Pure but for `Connection`: messages are bytes, made and read here (OpenFlow Switch Specification 1.3.5; the action that
sets bits of the type of service is Open vSwitch's NXAST_REG_LOAD).
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..bus.config import Code
from ..errors import LiveError

VERSION = 4
HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FLOW_MOD, BARRIER_REQUEST, BARRIER_REPLY = 0, 1, 2, 3, 14, 20, 21
ADD, DELETE, DELETE_STRICT = 0, 3, 4
ANY, NO_BUFFER, ALL_TABLES = 0xFFFFFFFF, 0xFFFFFFFF, 0xFF
HEADER = struct.Struct(">BBHI")

# fields of a match (class OPENFLOW_BASIC)
METADATA, ETH_TYPE, IP_PROTO = 2, 5, 10
IPV4_SRC, IPV4_DST, IPV6_SRC, IPV6_DST = 11, 12, 26, 27
PORTS = {6: (13, 14), 17: (15, 16), 132: (17, 18)}
"""Protocol: the fields of its source and destination port."""

GOTO_TABLE, APPLY_ACTIONS = 1, 4
NICIRA, REG_LOAD, IP_TOS = 0x00002320, 7, 5 << 9 | 1
MOST_UNSENT = 8 << 20
"""Bytes that wait for a switch that does not read; with more than some 40,000 rules it counts as lost."""
DSCP_SHIFT = 2
"""Where the DSCP begins in the type of service."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the switch."""

    type: int
    xid: int
    body: bytes

    def error_text(self) -> str:
        """Say which error it is; one that is too short to say so is an error all the same."""
        if len(self.body) < 4:
            return f"OpenFlow error of {len(self.body)} bytes, which says no type"
        kind, code = struct.unpack_from(">HH", self.body)
        return f"OpenFlow error type {kind} code {code}"


def message(type_: int, xid: int, body: bytes = b"") -> bytes:
    """Put a header before a body."""
    return HEADER.pack(VERSION, type_, HEADER.size + len(body), xid) + body


def field(number: int, value: bytes, mask: bytes | None = None) -> bytes:
    """Write one field of a match."""
    payload = value + (mask or b"")
    return struct.pack(">HBB", 0x8000, number << 1 | (mask is not None), len(payload)) + payload


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def flow_mod(
    command: int,
    xid: int,
    *,
    cookie: int,
    cookie_mask: int = 0,
    table: int = ALL_TABLES,
    priority: int = 0,
    hard_timeout_s: int = 0,
    match: bytes = b"",
    instructions: bytes = b"",
) -> bytes:
    """Add or delete flow entries; `match` is a run of fields, `instructions` one of instructions."""
    fixed = struct.pack(
        ">QQBBHHHIIIHxx", cookie, cookie_mask, table, command, 0, hard_timeout_s, priority, NO_BUFFER, ANY, ANY, 0
    )
    matched = _padded(struct.pack(">HH", 1, 4 + len(match)) + match)
    return message(FLOW_MOD, xid, fixed + matched + instructions)


def set_code(code: Code) -> bytes:
    """Write the actions that set a code's bits of the DSCP and leave the others; one a run of bits."""
    actions = b""
    bit = 0
    while code.mask >> bit:
        width = 0
        while code.mask >> (bit + width) & 1:
            width += 1
        if width:
            value = code.value >> bit & ((1 << width) - 1)
            where = (bit + DSCP_SHIFT) << 6 | (width - 1)
            actions += struct.pack(">HHIHHIQ", 0xFFFF, 24, NICIRA, REG_LOAD, where, IP_TOS, value)
        bit += max(width, 1)
    return actions


def apply_then_goto(actions: bytes, table: int) -> bytes:
    """Write the instructions that do actions at once and go on in another table."""
    applied = struct.pack(">HHxxxx", APPLY_ACTIONS, 8 + len(actions)) + actions
    return applied + struct.pack(">HHBxxx", GOTO_TABLE, 8, table)


def split(data: bytes) -> tuple[list[Message], bytes]:
    """Cut a stream into messages; return them and the bytes of the one that is not whole."""
    found = []
    at = 0
    while len(data) - at >= HEADER.size:
        _, kind, length, xid = HEADER.unpack_from(data, at)
        if length < HEADER.size:
            raise LiveError(f"the switch sent a message of {length} bytes, which OpenFlow does not have")
        if len(data) - at < length:
            break
        found.append(Message(kind, xid, data[at + HEADER.size : at + length]))
        at += length
    return found, data[at:]


class Connection:
    """A connection to a switch's management socket, from hello on; neither reading nor sending ever waits."""

    def __init__(self, path: str) -> None:
        """Connect and say hello; raises LiveError where nobody answers there."""
        self.path = path
        self._rest = b""
        self._unsent = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(path)
        except (OSError, ValueError) as error:  # BlockingIOError, too: it has too many who want to connect
            self._socket.close()
            why = getattr(error, "strerror", None) or error
            raise LiveError(f"no switch at {path}: {why}; does ovs-vswitchd run?") from None
        self.send([message(HELLO, 0)])

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._socket.fileno()

    @property
    def unsent(self) -> int:
        """Number of bytes that the switch has not taken yet."""
        return len(self._unsent)

    def send(self, messages: Sequence[bytes]) -> None:
        """Send messages as far as the switch takes them; the rest goes with the next call of `send` or `receive`.

        Raises LiveError where the connection is lost, or more than `MOST_UNSENT` bytes wait.
        """
        self._unsent += b"".join(messages)
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent, socket.MSG_NOSIGNAL)]
        except BlockingIOError:
            if len(self._unsent) > MOST_UNSENT:
                raise LiveError(
                    f"connection to {self.path} given up: the switch does not read what it is sent"
                ) from None
        except OSError as error:
            raise LiveError(f"connection to {self.path} lost: {error.strerror or error}") from None

    def receive(self) -> Iterator[Message]:
        """Return what has come so far, having answered echo requests; raises LiveError at the connection's end.

        Raises LiveError, too, for what is no message: where the next one begins is not known then.
        """
        self.send(())
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                raise LiveError(f"connection to {self.path} lost: {error.strerror or error}") from None
            if not data:
                raise LiveError(f"connection to {self.path} lost: the switch closed it")
            found, self._rest = split(self._rest + data)
            for each in found:
                if each.type == ECHO_REQUEST:
                    self.send([message(ECHO_REPLY, each.xid, each.body)])
                else:
                    yield each

    def wait(self, within_s: float) -> None:
        """Wait until the switch has said something, or takes what it has not taken yet."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        poll.poll(within_s * 1000)

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

"""Tags: what a selection asks of a device, and what a tagger is that puts them in force.

A tag says which packets are to carry a task's code, and until when. It expires by itself, so that no tag outlives an
agent that died. Switches and hosts have a tagger each: `switch_tagger.py`, `host_tagger.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..bus.config import Code, SelectorConfig
from ..traces.header_kernels import SCTP, TCP, UDP
from ..traces.packets import PacketBatch

REVERSE_KINDS = {"five-tuple": "five-tuple", "src+dst": "src+dst", "src": "dst", "dst": "src"}
"""Key kind: what identifies the flow in the packets that answer it."""
WITH_PORTS = (TCP, UDP, SCTP)


@dataclass(frozen=True, slots=True)
class Tag:
    """Packets that are to carry the code of a task; of the fields, those count that `kind` names."""

    task: str
    kind: str
    """Key kind (traces/keys.py), as the packets to be tagged have it."""
    reverse: bool
    """They answer the selected flow."""
    src: tuple[int, int]
    dst: tuple[int, int]
    src_port: int
    dst_port: int
    protocol: int

    @property
    def is_ipv4(self) -> bool:
        """Whether the packets are IPv4."""
        src, dst = self.src, self.dst
        return all(high == 0 and low >> 32 == 0xFFFF for high, low in ((src,) if self.kind == "src" else (dst,)))

    @property
    def has_ports(self) -> bool:
        """Whether ports are among the fields that count, and the packets have some."""
        return self.kind == "five-tuple" and self.protocol in WITH_PORTS


def tag_of(task: str, kind: str, packets: PacketBatch, row: int, reverse: bool) -> Tag:
    """Return the tag of the flow of a packet, or of the flow that answers it. Fields that do not count are 0."""
    words = [(int(a[row, 0]), int(a[row, 1])) for a in (packets.src, packets.dst)]
    ports = [int(packets.src_port[row]), int(packets.dst_port[row])]
    if reverse:
        kind = REVERSE_KINDS[kind]
        words.reverse()
        ports.reverse()
    exact = kind == "five-tuple"
    return Tag(
        task, kind, reverse,
        words[0] if kind != "dst" else (0, 0), words[1] if kind != "src" else (0, 0),
        ports[0] if exact else 0, ports[1] if exact else 0, int(packets.protocol[row]) if exact else 0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a tag that was put."""

    tag: Tag
    installed_ns: int | None
    """When the device confirmed it; None where it refused, and `why` says the reason."""
    why: str = ""


class Tagger(Protocol):
    """Puts tags in force on one device. But for `configure` and `restore`, nothing here raises for what the device
    refuses: outcomes say it."""

    faults: int
    """Connections to the device that were lost, and messages of it that could not be understood."""

    def configure(self, selectors: Sequence[SelectorConfig], codes: Collection[Code] = ()) -> None:
        """Be ready for the tags of these tasks; forget those of others. Tags in force stay.

        `codes` are all codes of the network. Raises LiveError, and stays as it was, where the device refuses.
        """

    def put(self, tags: Sequence[tuple[Tag, int]], now_ns: int) -> None:
        """Put tags in force until a time each, or move the time of those that are."""

    def remove(self, tags: Sequence[Tag]) -> None:
        """End tags now."""

    def waits(self) -> bool:
        """Say whether `poll` will soon have something to tell."""

    def poll(self, now_ns: int) -> list[Outcome]:
        """Return what became of tags since the last call; reconnect where the device was away."""

    def settle(self, within_s: float) -> list[Outcome]:
        """Wait until nothing is open, or for a time; return as `poll`."""

    def restore(self, now_ns: int) -> None:
        """Put again all that should be in force, after the interface was gone."""

    def cleaned(self) -> int:
        """Return the number of packets that have lost a DSCP of their own since the last call."""

    def fileno(self) -> int:
        """Return the descriptor whose input is for `poll`, or -1."""

    def close(self, remove: bool) -> None:
        """Let go of the device; with `remove` end all tags and take away what was set up for them."""

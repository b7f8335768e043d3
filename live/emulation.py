"""Links that behave like links: rates, delays and random loss, with what the kernel of this machine has.

Each direction of a link is dealt with at the interface that sends. Rates up to 1 Gbit/s are kept by HTB, with real
queues. Delay and loss are netem's where the kernel has it; where it has not, nftables drops packets in a netdev egress
chain (before a capture ring sees them as sent; an ingress chain would come too late, behind the socket that a switch
in user space reads from), and delays are not emulated. What could not be is said, in sentences.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import LiveError, SpecError
from ..topologies.topology import Link, Topology
from .network import Network, run
from .processes import Recorder
from .things import MISSING, status_of

MOST_MBPS = 1_000.0
"""Greatest rate that is emulated."""
TABLE = "mozart_loss"
RANDOM = 1_000_000
QUEUE_PACKETS = 100_000
"""Packets that netem holds while they are on their way."""


@dataclass(frozen=True, slots=True)
class Sending:
    """One direction of a link: the device and interface that send."""

    link: Link
    device: str
    interface: str
    loss: float


def has_qdisc(*words: str) -> bool:
    """Say whether the kernel has a queueing discipline, by trying it in a namespace that is gone at once."""
    trial = ["unshare", "-n", "tc", "qdisc", "add", "dev", "lo", "root", *words]
    status = status_of(*trial)
    if status == MISSING:
        raise LiveError(f"{trial[0]} is not installed; `mozart doctor` says what is missing")
    return status == 0


class Emulation:
    """The links of a running network; `loss` is the probability of a drop by link ('s3-s6'), in both directions."""

    def __init__(self, topology: Topology, loss: Mapping[str, float], network: Network, record: Recorder) -> None:
        self.topology, self.network, self.record = topology, network, record
        self.netem = has_qdisc("netem", "delay", "1ms")
        self.htb = has_qdisc("htb")
        chance = {frozenset(name.split("-")): probability for name, probability in loss.items()}
        known = {frozenset((link.a, link.b)) for link in topology.links}
        for name in loss:
            if frozenset(name.split("-")) not in known:
                links = ", ".join(link.name for link in topology.links)
                raise SpecError(f"loss names the link {name}, and {topology.name} has no such link; it has {links}")
        self.sendings = [
            Sending(link, end, network.interfaces[end][other], chance.get(frozenset((end, other)), 0.0))
            for link in topology.links
            for end, other in ((link.a, link.b), (link.b, link.a))
        ]

    def start(self) -> list[str]:
        """Make the links so, and return what could not be emulated. Needs the network's ports to be there."""
        self.network.at_stop.append(self.stop)
        for inside, some in self._by_namespace():
            lines = [line for each in some for line in self._qdiscs(each)]
            if lines:
                run([*inside, "tc", "-batch", "-"], "\n".join(lines) + "\n")
            lossy = [each for each in some if each.loss and not self.netem]
            if lossy:
                pid = self.network.host_pids.get(lossy[0].device)
                self.record("nft", TABLE, family="netdev", pid=pid)
                run([*inside, "nft", "-f", "-"], drop_rules(lossy))
        return self._sentences()

    def _by_namespace(self) -> list[tuple[list[str], list[Sending]]]:
        """Group the interfaces: those of all switches, and those of each host."""
        hosts = set(self.topology.hosts)
        groups: list[tuple[list[str], list[Sending]]] = [
            ([], [each for each in self.sendings if each.device not in hosts])
        ]
        return groups + [(self.network.inside(each.device), [each]) for each in self.sendings if each.device in hosts]

    def _qdiscs(self, sending: Sending) -> list[str]:
        """Return the lines for tc of one direction of a link: HTB, and netem below it."""
        lines = []
        name, parent = sending.interface, "root"
        if self.htb and sending.link.rate_mbps <= MOST_MBPS:
            lines.append(f"qdisc replace dev {name} root handle 5: htb default 1")
            rate = f"htb rate {sending.link.rate_mbps}mbit burst 64k cburst 64k quantum 18028"
            lines.append(f"class replace dev {name} parent 5: classid 5:1 {rate}")
            parent = "parent 5:1"
        if self.netem and (sending.link.latency_ms or sending.loss):
            what = f"delay {sending.link.latency_ms}ms loss {100 * sending.loss}% limit {QUEUE_PACKETS}"
            lines.append(f"qdisc replace dev {name} {parent} handle 10: netem {what}")
        return lines

    def _sentences(self) -> list[str]:
        """Say what is not as the topology has it."""
        said = []
        fast = [link.rate_mbps for link in self.topology.links if link.rate_mbps > MOST_MBPS or not self.htb]
        if fast:
            why = f"above {MOST_MBPS:,.0f} Mbit/s" if self.htb else "because this kernel has no HTB"
            said.append(f"the rates of {len(fast)} links are not emulated, {why}")
        slow = [link.latency_ms for link in self.topology.links if link.latency_ms]
        if slow and not self.netem:
            said.append(f"the delays of {len(slow)} links (up to {max(slow):g} ms) are not: this kernel has no netem")
        if any(each.loss and each.device in self.network.host_pids for each in self.sendings):
            said.append("what a host's own link loses of what it sends counts as never sent")
        return said

    def dropped(self) -> dict[str, int]:
        """Return how many packets the loss of each lossy link has dropped so far, both directions together."""
        counts: dict[str, int] = {}
        for sending, number in self._drops():
            counts[sending.link.name] = counts.get(sending.link.name, 0) + number
        return counts

    def dropped_on_the_way(self) -> int:
        """Return how many packets lossy links have dropped so far that their host's agent had seen."""
        return sum(number for sending, number in self._drops() if sending.device not in self.network.host_pids)

    def _drops(self) -> Iterator[tuple[Sending, int]]:
        for inside, some in self._by_namespace():
            lossy = {each.interface: each for each in some if each.loss}
            if lossy:
                found = self._netem_drops(inside, lossy) if self.netem else self._nft_drops(inside)
                yield from ((lossy[interface], n) for interface, n in found.items() if interface in lossy)

    def _netem_drops(self, inside: Sequence[str], lossy: Collection[str]) -> dict[str, int]:
        answer = json.loads(run([*inside, "tc", "-s", "-j", "qdisc", "show"]))
        return {q["dev"]: q["drops"] for q in answer if q["kind"] == "netem" and q["dev"] in lossy}

    def _nft_drops(self, inside: Sequence[str]) -> dict[str, int]:
        answer = json.loads(run([*inside, "nft", "-j", "list", "table", "netdev", TABLE]))
        rules = [each["rule"] for each in answer["nftables"] if "rule" in each]
        return {
            rule["chain"]: part["counter"]["packets"] for rule in rules for part in rule["expr"] if "counter" in part
        }

    def stop(self) -> None:
        """Remove the table of the switches' interfaces; all else goes with the interfaces."""
        if not self.netem and any(each.loss and each.device in self.topology.switches for each in self.sendings):
            status_of("nft", "delete", "table", "netdev", TABLE)  # it may be gone already


def drop_rules(lossy: Sequence[Sending]) -> str:
    """Return the nftables script that drops packets at random: a chain an interface, named after it."""
    chains = "".join(
        f'  chain {each.interface} {{ type filter hook egress device "{each.interface}" priority 10; policy accept;\n'
        f"    numgen random mod {RANDOM} < {round(each.loss * RANDOM)} counter drop\n  }}\n"
        for each in lossy
    )
    return f"table netdev {TABLE} {{\n{chains}}}\n"

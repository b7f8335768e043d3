"""Tagging for real: nftables at a host's egress, flow entries at a userspace bridge; seen where the packets arrive."""

from __future__ import annotations

import itertools
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager

import numpy as np
import pytest
from mozart.agents.host_tagger import HostTagger, duration, taken_for_tags
from mozart.agents.netns import network_of
from mozart.agents.nftables import Nftables
from mozart.agents.ring import Ring
from mozart.agents.switch_tagger import SwitchTagger
from mozart.agents.tagger import Tag, Tagger, tag_of
from mozart.bus.config import Code
from mozart.errors import LiveError
from mozart.tests.agent_worlds import (
    Side,
    bridge,
    needs_nft,
    needs_ovs,
    needs_root,
    own_name,
    run,
    selector,
    tcp,
    until,
    veth_pair,
)  # fmt: skip
from mozart.tests.packet_worlds import MACS, Plain, decode_plainly, plain_rows
from mozart.traces.packets import PacketBatch

pytestmark = needs_root
S = 10**9


def transport(protocol: int, ports: tuple[int, int]) -> bytes:
    """Twenty bytes behind the IP header."""
    if protocol == 6:
        return struct.pack(">HHIIBBHHH", *ports, 1, 1, 0x50, 16, 1000, 0, 0)
    return struct.pack(">HHHH", *ports, 20, 0) + bytes(12)


def ipv4(
    protocol: int = 17, ports: tuple[int, int] = (1000, 53), fragment: int = 0, last: int = 1, dscp: int = 0
) -> bytes:
    """A frame from 10.1.0.`last` to 192.0.2.1."""
    addresses = bytes((10, 1, 0, last, 192, 0, 2, 1))
    head = struct.pack(">BBHHHBBH", 0x45, dscp << 2, 40, 1, fragment, 64, protocol, 0) + addresses
    return MACS + b"\x08\x00" + head + transport(protocol, ports)


def ipv6(protocol: int = 17, ports: tuple[int, int] = (1000, 53), last: int = 1, dscp: int = 0) -> bytes:
    """A frame from 2001:db8::`last` to 2001:db8:1::1."""
    source, destination = (
        bytes.fromhex("20010db8") + bytes((0, i)) + bytes(9) + bytes((n,)) for i, n in ((0, last), (1, 1))
    )
    head = struct.pack(">IHBB", 6 << 28 | dscp << 22, 20, protocol, 64) + source + destination
    return MACS + b"\x86\xdd" + head + transport(protocol, ports)


def swapped(frame: bytes) -> bytes:
    """The frame that answers: addresses and ports the other way round."""
    at, size = (26, 4) if frame[12:14] == b"\x08\x00" else (22, 16)
    a, b = frame[at : at + size], frame[at + size : at + 2 * size]
    behind = at + 2 * size
    ports = frame[behind + 2 : behind + 4] + frame[behind : behind + 2]
    return frame[:at] + b + a + ports + frame[behind + 4 :]


def identity(packet: Plain | str) -> Plain:
    """A packet but for its DSCP."""
    assert isinstance(packet, Plain), packet
    return packet._replace(dscp=0)


class World:
    """Frames go in at one side, and their DSCPs are seen at the other."""

    def __init__(self, source: Side, seen: Ring, tagger: Tagger) -> None:
        self.source, self.seen, self.tagger = source, seen, tagger

    def dscps(self, *frames: bytes) -> list[int]:
        """Send frames; the DSCP that each arrives with."""
        return [packet.dscp[0] for packet in self.packets(*frames)]

    def packets(self, *frames: bytes) -> list[PacketBatch]:
        """Send frames; each as it arrives, whatever else does."""
        self.seen.read_batch(1000)
        self.source.send(list(frames))
        missing = dict(enumerate(identity(decode_plainly(frame, 0, 1)) for frame in frames))
        found: dict[int, PacketBatch] = {}

        def arrived() -> bool:
            batch, _ = self.seen.read_batch(1000)
            for i, plain in enumerate(plain_rows(batch)):
                number = next((n for n, wanted in missing.items() if wanted == identity(plain)), None)
                if number is not None:
                    del missing[number]
                    found[number] = batch[i : i + 1]
            return not missing

        until(arrived, f"{len(frames)} frames to arrive")
        return [found[i] for i in range(len(frames))]

    def soon(self, *frames: bytes) -> list[int]:
        """The DSCPs when all frames are tagged: a switch says that a rule is there before its cache knows."""
        found: list[list[int]] = [[]]

        def tagged() -> bool:
            found[0] = self.dscps(*frames)
            return all(found[0])

        until(tagged, "all of the frames to be tagged", 5)
        return found[0]

    def put(self, task: str, kind: str, frame: bytes, seconds: float = 60, reverse: bool = False) -> Tag:
        """Put the tag of a frame's flow, and wait until it is in force."""
        tag = tag_of(task, kind, self.packets(frame)[0], 0, reverse)
        now_ns = time.time_ns()
        self.tagger.put([(tag, now_ns + int(seconds * S))], now_ns)
        outcomes = self.tagger.settle(5)
        assert [o.tag for o in outcomes] == [tag] and outcomes[0].installed_ns is not None, outcomes
        return tag


@contextmanager
def host() -> Iterator[World]:
    with veth_pair() as (a, b), closing(Ring(b.interface, b.pid)) as seen:
        tagger = HostTagger("h1", a.interface, a.pid)
        yield World(a, seen, tagger)
        tagger.close(remove=True)


@contextmanager
def switch(tables: tuple[int, ...] = (1,)) -> Iterator[World]:
    with bridge(tables) as made, closing(Ring(made.right.interface, made.right.pid, incoming_only=True)) as seen:
        tagger = SwitchTagger(made.management)
        until(lambda: tagger.poll(time.time_ns()) or tagger.fileno() >= 0, "the bridge's management socket")
        yield World(made.left, seen, tagger)
        tagger.close(remove=True)
        assert made.flows("cookie=0x6d7b000000000000/0xffff000000000000") == []


WORLDS = [pytest.param(host, marks=needs_nft, id="host"), pytest.param(switch, marks=needs_ovs, id="switch")]
Maker = Callable[..., AbstractContextManager[World]]
STACK: list[ExitStack] = []
OPEN: dict[Maker, World] = {}
"""Worlds that several tests use, one after the other."""


@pytest.fixture(autouse=True, scope="module")
def kept_open() -> Iterator[ExitStack]:
    """Close them at the end."""
    with ExitStack() as undo:
        STACK.append(undo)
        yield undo
        OPEN.clear()


def clean(made: Maker) -> World:
    """A world without tags or tasks, opened once.

    A switch forgets the flows of the tests before too: they were kept for other rules, and where two of them hold one
    packet, Open vSwitch 3.1 in user space may give the new actions to the one that the packet does not take.
    """
    if made not in OPEN:
        OPEN[made] = STACK[-1].enter_context(made())
    OPEN[made].tagger.configure([])
    OPEN[made].tagger.settle(5)
    if isinstance(OPEN[made].tagger, SwitchTagger):
        run("ovs-appctl", "revalidator/purge")
    return OPEN[made]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(
    "kind, same, other",
    [
        ("five-tuple", [ipv4()], [ipv4(ports=(1000, 54)), ipv4(6), ipv4(last=2), ipv6()]),
        ("five-tuple", [ipv6(6)], [ipv6(6, (1, 53)), ipv6(), ipv4(6)]),
        ("five-tuple", [ipv4(132)], [ipv4(), ipv4(132, (1, 1))]),
        ("five-tuple", [ipv4(1, (2048, 7)), ipv4(1, (0, 9))], [ipv4(), ipv4(47, (2048, 7))]),
        ("src", [ipv4(), ipv4(6, (7, 7))], [ipv4(last=2), swapped(ipv4()), ipv6()]),
        ("src", [ipv6(), ipv6(6, (7, 7))], [ipv6(last=2), ipv4()]),
        ("dst", [ipv4(), ipv4(6, last=9)], [swapped(ipv4()), ipv6()]),
        ("src+dst", [ipv4(), ipv4(6, (7, 7))], [ipv4(last=2), swapped(ipv4())]),
        ("src+dst", [ipv6(), ipv6(6, (7, 7))], [ipv6(last=2)]),
    ],
)
def test_tags_the_packets_of_the_key_and_no_others(
    world: Maker, kind: str, same: list[bytes], other: list[bytes]
) -> None:
    w = clean(world)
    w.tagger.configure([selector("t", key=kind, code=Code(4, 4))])
    until(lambda: not any(w.dscps(*same, *other)), "the tags of the test before to be gone")
    w.put("t", kind, same[0])
    assert w.soon(*same) == [4] * len(same)
    assert w.dscps(*other) == [0] * len(other)


@pytest.mark.parametrize("world", WORLDS)
def test_later_fragments_are_flows_without_ports(world: Maker) -> None:
    later = ipv4(17, (0xABCD, 0x1234), fragment=100)
    w = clean(world)
    w.tagger.configure([selector("t")])
    tag = w.put("t", "five-tuple", later)
    assert (tag.src_port, tag.dst_port) == (0, 0)
    assert w.soon(later) == [1]
    assert w.dscps(ipv4()) == [0]


@pytest.mark.parametrize("world", [WORLDS[0]])
@pytest.mark.parametrize("kind", ["five-tuple", "src", "dst", "src+dst"])
def test_a_host_tags_what_answers_a_selected_flow(world: Maker, kind: str) -> None:
    w = clean(world)
    w.tagger.configure([selector("t", key=kind, tags_forward=False, tags_reverse=True)])
    w.put("t", kind, ipv4(), reverse=True)
    assert w.dscps(swapped(ipv4()), ipv4()) == [1, 0]


@needs_ovs
@pytest.mark.parametrize("kind", ["five-tuple", "src", "dst", "src+dst"])
@pytest.mark.parametrize("frame", [ipv4(), ipv6(6)], ids=["ipv4", "ipv6"])
def test_a_switch_tags_what_answers_a_selected_flow_where_the_metadata_says_so(kind: str, frame: bytes) -> None:
    with bridge() as made, closing(Ring(made.left.interface, made.left.pid, incoming_only=True)) as back:
        tagger = SwitchTagger(made.management)
        until(lambda: tagger.poll(time.time_ns()) or tagger.fileno() >= 0, "the bridge's management socket")
        tagger.configure([selector("t", key=kind, tags_forward=False, tags_reverse=True)])
        with closing(Ring(made.right.interface, made.right.pid, incoming_only=True)) as seen:
            World(made.left, seen, tagger).put("t", kind, frame, reverse=True)
            assert World(made.left, seen, tagger).dscps(frame) == [0]
            assert World(made.left, seen, tagger).dscps(swapped(frame)) == [
                0
            ]  # of this direction no answers are tagged
        assert World(made.right, back, tagger).soon(swapped(frame)) == [1]
        tagger.close(remove=True)


@pytest.mark.parametrize("world", WORLDS)
def test_a_packet_carries_the_tags_of_several_tasks_at_once(world: Maker) -> None:
    codes = {"a": Code(1, 1), "b": Code(4, 4), "c": Code(32, 32)}
    flows = {bits: ipv4(ports=(2000 + i, 80)) for i, bits in enumerate(itertools.product((0, 1), repeat=3))}
    arguments = ((1, 2, 3),) if world is switch else ()
    with world(*arguments) as w:
        w.tagger.configure([selector(t, code=codes[t], table=i + 1) for i, t in enumerate(codes)])
        for bits, frame in flows.items():
            for task, bit in zip(codes, bits, strict=True):
                if bit:
                    w.put(task, "five-tuple", frame)
        wanted = [sum(c.value for c, bit in zip(codes.values(), bits, strict=True) if bit) for bits in flows]
        until(lambda: w.dscps(*flows.values()) == wanted, f"the tags {wanted}")


@pytest.mark.parametrize("world", WORLDS)
def test_of_codes_that_are_values_the_later_task_wins(world: Maker) -> None:
    arguments = ((1, 2),) if world is switch else ()
    with world(*arguments) as w:
        w.tagger.configure([selector("a", code=Code(9, 63), table=1), selector("b", code=Code(18, 63), table=2)])
        w.put("a", "five-tuple", ipv4())
        w.put("b", "five-tuple", ipv4(last=2))
        w.put("a", "five-tuple", ipv4(last=3))
        w.put("b", "five-tuple", ipv4(last=3))
        frames = [ipv4(), ipv4(last=2), ipv4(last=3), ipv4(last=4)]
        until(lambda: w.dscps(*frames) == [9, 18, 18, 0], "the tag of the later task")


@pytest.mark.parametrize("world", WORLDS)
def test_a_tag_expires_by_itself_and_can_be_prolonged_and_ended(world: Maker) -> None:
    first, second, third = ipv4(), ipv4(last=2), ipv4(last=3)
    with world() as w:
        w.tagger.configure([selector("t")])
        tag = w.put("t", "five-tuple", first, seconds=1)
        w.put("t", "five-tuple", second, seconds=1)
        end = time.time_ns() + 60 * S
        w.tagger.put([(tag, end)], time.time_ns())
        assert [o.tag for o in w.tagger.settle(5)] == [tag]
        ended = w.put("t", "five-tuple", third)
        w.tagger.remove([ended])
        w.tagger.settle(5)
        until(lambda: w.dscps(third) == [0], "the tag that was ended to be gone")
        until(lambda: w.dscps(second) == [0], "the tag of one second to expire")
        assert w.dscps(first) == [1]


@needs_nft
def test_untagged_packets_lose_their_dscp_and_are_counted():
    with host() as w:
        assert w.dscps(ipv4(dscp=10)) == [10]  # no task: nothing is touched
        w.tagger.configure([selector("t")])
        w.put("t", "five-tuple", ipv4(last=2))
        before = w.tagger.cleaned()
        assert w.dscps(ipv4(dscp=10), ipv6(dscp=12), ipv4(last=3), ipv4(last=2, dscp=46)) == [0, 0, 0, 1]
        assert w.tagger.cleaned() - before == 3 and w.tagger.cleaned() == 0
        w.tagger.configure([])
        assert w.dscps(ipv4(dscp=10)) == [10]


@needs_nft
def test_tags_outlive_the_agent_and_go_when_told_to():
    with veth_pair() as (a, b), closing(Ring(b.interface, b.pid)) as seen:
        first = HostTagger("h1", a.interface, a.pid)
        w = World(a, seen, first)
        first.configure([selector("t")])
        w.put("t", "five-tuple", ipv4())
        first.close(remove=False)
        assert w.dscps(ipv4()) == [1]
        second = HostTagger("h1", a.interface, a.pid)
        second.configure([selector("t")])
        assert w.dscps(ipv4()) == [1]
        second.close(remove=True)
        assert w.dscps(ipv4()) == [0]
        with closing(Nftables(a.pid)) as nft:
            assert nft.run("list tables") == ""


@needs_nft
def test_what_nftables_refuses_is_an_outcome_and_the_rest_is_done():
    with host() as w:
        w.tagger.configure([selector("t")])
        good = tag_of("t", "five-tuple", w.packets(ipv4())[0], 0, False)
        bad = tag_of("nobody", "five-tuple", w.packets(ipv4(last=2))[0], 0, False)
        now_ns = time.time_ns()
        w.tagger.put([(bad, now_ns + S), (good, now_ns + S)], now_ns)
        outcomes = {o.tag: o for o in w.tagger.poll(now_ns)}
        assert outcomes[good].installed_ns and outcomes[bad].installed_ns is None
        assert "No such file" in outcomes[bad].why
    with closing(Nftables()) as nft, pytest.raises(LiveError, match="nftables refuses"):
        nft.run("add rule netdev nowhere nothing accept")


@needs_ovs
def test_a_rule_the_switch_refuses_is_an_outcome():
    full = ("--", "--id=@full", "create", "flow_table", "flow_limit=1", "overflow_policy=refuse")
    with bridge() as made, closing(Ring(made.right.interface, made.right.pid, incoming_only=True)) as seen:
        tagger = SwitchTagger(made.management)
        until(lambda: tagger.poll(time.time_ns()) or tagger.fileno() >= 0, "the bridge's management socket")
        run("ovs-vsctl", "set", "bridge", made.name, "flow_tables:1=@full", *full)
        tagger.configure([selector("t")])
        tag = tag_of("t", "five-tuple", World(made.left, seen, tagger).packets(ipv4())[0], 0, False)
        now_ns = time.time_ns()
        tagger.put([(tag, now_ns + S)], now_ns)
        (outcome,) = tagger.settle(5)
        assert outcome.tag == tag and outcome.installed_ns is None and "OpenFlow error type" in outcome.why
        tagger.close(remove=True)


@needs_ovs
def test_a_switch_that_lost_its_rules_gets_the_tags_in_force_again():
    with bridge() as made, closing(Ring(made.right.interface, made.right.pid, incoming_only=True)) as seen:
        tagger = SwitchTagger(made.management)
        until(lambda: tagger.poll(time.time_ns()) or tagger.fileno() >= 0, "the bridge's management socket")
        tagger.configure([selector("t")])
        w = World(made.left, seen, tagger)
        w.put("t", "five-tuple", ipv4())
        run("ovs-vsctl", "set", "bridge", made.name, "protocols=OpenFlow10")  # ends connections of other versions
        until(lambda: not tagger.poll(time.time_ns()) and tagger.fileno() < 0, "the connection to be lost")
        run("ovs-vsctl", "set", "bridge", made.name, "protocols=OpenFlow10,OpenFlow13")
        run("ovs-ofctl", "-O", "OpenFlow13", "del-flows", made.name, "cookie=0x6d7b000000000000/0xffff000000000000")
        until(lambda: bool(tagger.poll(time.time_ns())), "the tag to be put again")
        assert w.soon(ipv4()) == [1]
        assert w.dscps(ipv4(last=2)) == [0]
        tagger.close(remove=True)


@needs_ovs
def test_rules_follow_when_a_task_comes_or_goes():
    with bridge((1, 2)) as made, closing(Ring(made.right.interface, made.right.pid, incoming_only=True)) as seen:
        tagger = SwitchTagger(made.management)
        until(lambda: tagger.poll(time.time_ns()) or tagger.fileno() >= 0, "the bridge's management socket")
        tagger.configure([selector("a", table=1)])
        w = World(made.left, seen, tagger)
        w.put("a", "five-tuple", ipv4())
        assert any("goto_table:100" in flow for flow in made.flows("table=1") if "0x6d7b" in flow)
        tagger.configure([selector("a", table=1), selector("b", table=2, code=Code(2, 2))])
        assert [outcome.tag.task for outcome in tagger.settle(5)] == ["a"]  # goes on to table 2 from now on
        w.put("b", "five-tuple", ipv4())
        until(lambda: w.dscps(ipv4()) == [3], "the tags of both tasks")
        tagger.configure([selector("b", table=2, code=Code(8, 8))])
        tagger.settle(5)
        until(lambda: w.dscps(ipv4()) == [8], "the tag of the other task alone, with its new code")
        tagger.close(remove=True)


def test_dscps_that_could_be_taken_for_tags():
    assert taken_for_tags([Code(9, 63), Code(18, 63)]) == [9, 18]
    assert taken_for_tags([Code(1, 1)]) == list(range(1, 64, 2)) and taken_for_tags([]) == []


def test_a_timeout_is_written_in_numbers_that_nft_takes():
    assert [duration(ms) for ms in (0, 1, 1000, 61_001, 86_400_000)] == ["1ms", "1ms", "1s", "1m1s1ms", "1d"]
    assert duration(10**12) == "11574d1h46m40s"


@needs_nft
def test_two_tasks_whose_names_have_one_crc32_share_no_tag():
    one, other = "plumless", "buckeroo"
    assert zlib.crc32(one.encode()) == zlib.crc32(other.encode())
    with host() as w:
        w.tagger.configure([selector(one, code=Code(1, 1)), selector(other, code=Code(2, 2))])
        w.put(one, "five-tuple", ipv4())
        w.put(other, "five-tuple", ipv4(last=2))
        assert w.dscps(ipv4(), ipv4(last=2)) == [1, 2]


@needs_nft
def test_a_hold_of_thirty_years_is_put():
    with host() as w:
        w.tagger.configure([selector("t", hold_s=1e9)])
        w.put("t", "five-tuple", ipv4(), seconds=10**9)
        assert w.dscps(ipv4()) == [1]


@needs_nft
def test_the_marks_of_other_programs_stay():
    with host() as w, ExitStack() as undo:
        nft = undo.enter_context(closing(Nftables(w.source.pid)))
        # before our chain one that marks, behind it one that counts
        for name, priority in (("before", -10), ("after", 10)):
            hook = f'{{ type filter hook egress device "{w.source.interface}" priority {priority}; }}'
            nft.run(f"add table netdev vpn\nadd chain netdev vpn {name} {hook}")
        nft.run("add rule netdev vpn before meta mark set 0xca6c")
        nft.run("add counter netdev vpn kept\nadd rule netdev vpn after meta mark 0xca6c counter name kept")
        w.tagger.configure([selector("a", code=Code(1, 1)), selector("b", code=Code(4, 4))])
        w.put("a", "five-tuple", ipv4())
        w.put("b", "five-tuple", ipv4())
        assert w.dscps(ipv4(), ipv4(last=2), ipv4(last=3, dscp=10)) == [5, 0, 0]
        assert "packets 5 " in nft.run("list counter netdev vpn kept")  # two of them by `put`


@needs_nft
def test_in_the_namespace_of_the_machine_a_dscp_stays_that_is_no_tag():
    with veth_pair() as (a, b), closing(Ring(b.interface, b.pid)) as seen, network_of(a.pid):
        tagger = HostTagger("h1", a.interface, None)  # where this thread is now is its own namespace
        w = World(a, seen, tagger)
        tagger.configure([selector("t", code=Code(1, 1))], [Code(1, 1), Code(4, 4)])
        w.put("t", "five-tuple", ipv4(last=2))
        frames = [ipv4(dscp=46), ipv4(dscp=10), ipv6(dscp=8), ipv4(last=2, dscp=48), ipv4(last=2), ipv4(dscp=3)]
        assert w.dscps(*frames) == [0, 10, 8, 49, 1, 0]  # 46 and 3 have the bits of a tag
        assert tagger.cleaned() == 2
        tagger.close(remove=True)


@needs_nft
def test_what_an_earlier_agent_left_goes_where_no_task_needs_it():
    with veth_pair() as (a, _):
        first = HostTagger("h1", a.interface, a.pid)
        first.configure([selector("old"), selector("kept", code=Code(2, 2))])
        first.close(remove=False)
        with closing(Nftables(a.pid)) as nft:
            nft.run("add set netdev mozart f4_h2_other { type ipv4_addr; }")
            second = HostTagger("h1", a.interface, a.pid)
            second.configure([selector("kept", code=Code(2, 2))])
            said = nft.run("list table netdev mozart")
            assert "_kept" in said and "_old" not in said and "to_h1_2 " in said and "to_h1_1 " not in said
            second.close(remove=True)
            said = nft.run("list table netdev mozart")
            assert "f4_h2_other" in said and "h1" not in said


@needs_nft
def test_what_nftables_refuses_of_a_configuration_leaves_the_one_before():
    with host() as w:
        w.tagger.configure([selector("t")])
        w.put("t", "five-tuple", ipv4())
        with pytest.raises(LiveError, match="nftables refuses"):
            w.tagger.configure([selector("t"), selector("{", code=Code(2, 2))])
        assert w.dscps(ipv4()) == [1]
        w.put("t", "five-tuple", ipv4(last=2))
        assert w.dscps(ipv4(last=2)) == [1]


@needs_nft
@pytest.mark.parametrize("name", ['x" priority 0; }\nadd table netdev evil', 'a"b', "a\\b", "a\nb", ""])
def test_a_name_that_would_end_its_quotes_is_refused(name: str) -> None:
    with closing(Nftables()) as nft:
        tagger = HostTagger("h1", name, None)
        with pytest.raises(LiveError, match="nftables can have no name"):
            tagger.configure([selector("t")])
        assert "evil" not in nft.run("list tables")
        tagger.close(remove=True)


def test_a_switch_that_is_not_there_is_tried_again_and_nothing_is_raised():
    tagger = SwitchTagger(f"/nowhere/{own_name('br')}.mgmt")
    tagger.configure([selector("t")])
    batch = PacketBatch.of(src=np.array([[0, 0xFFFF0A000001]]), dst=np.array([[0, 0xFFFF0A000002]]), protocol=[6])
    tagger.put([(tag_of("t", "five-tuple", batch, 0, False), time.time_ns() + S)], time.time_ns())
    assert tagger.poll(time.time_ns()) == [] and tagger.settle(0.01) == [] and tagger.fileno() == -1
    tagger.close(remove=True)


def test_frames_of_the_other_direction():
    assert swapped(swapped(tcp(1, 1))) == tcp(1, 1) and swapped(ipv6()) != ipv6()

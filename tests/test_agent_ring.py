"""The capture ring: what it takes equals what scapy reads of the same frames, packet by packet, with directions."""

from __future__ import annotations

import importlib
import struct
from contextlib import closing

import numpy as np
import pytest
from mozart.agents.netns import network_of
from mozart.agents.ring import Ring
from mozart.errors import LiveError
from mozart.tests.agent_worlds import needs_root, run, tcp, until, veth_pair
from mozart.tests.needs import need
from mozart.tests.packet_worlds import LINKS, MACS, decode_plainly, plain_rows, udp
from mozart.traces.packets import PacketBatch, address_text, concatenate

pytestmark = needs_root
ARP = MACS + b"\x08\x06" + bytes(28)
IPV6 = MACS + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28 | 46 << 22, 12, 17, 64) + bytes(range(32))
IPV6 += struct.pack(">HHHH", 546, 547, 12, 0) + b"abcd"
CUT = MACS + b"\x08\x00" + b"\x45\x00\x00"


def take(ring: Ring, packets: int, within_s: float = 5.0) -> tuple[PacketBatch, np.ndarray]:
    """Read until so many packets have come."""
    batches, directions = [], []

    def read() -> bool:
        batch, outgoing = ring.read_batch(1000)
        batches.append(batch)
        directions.append(outgoing)
        return sum(map(len, batches)) >= packets

    until(read, f"{packets} packets", within_s)
    return concatenate(batches), np.concatenate(directions)


def test_takes_what_scapy_reads_of_the_same_frames():
    need("scapy")
    scapy = importlib.import_module("scapy.layers.l2")
    importlib.import_module("scapy.layers.inet6")
    frames = [tcp(i, 1000 + i, payload=i * 7 % 900, dscp=i % 64) for i in range(500)]
    frames += [LINKS["ethernet"][1](udp(ports=(i, 53), payload=i)) for i in range(100)] + [IPV6, ARP, CUT]
    with veth_pair() as (a, b), closing(Ring(b.interface, b.pid)) as ring:
        a.send(frames)
        batch, outgoing = take(ring, 601)
    assert not outgoing.any()
    assert ring.skipped.tolist() == [1, 0, 1, 0]  # the ARP frame is no IP, of the last too little is there
    for i, frame in enumerate(frames[:601]):
        read = scapy.Ether(frame)
        ip = read.getlayer("IP") or read.getlayer("IPv6")
        transport = read.getlayer("TCP") or read.getlayer("UDP")
        assert address_text(*batch.src[i]) == ip.src and address_text(*batch.dst[i]) == ip.dst
        assert (batch.src_port[i], batch.dst_port[i]) == (transport.sport, transport.dport)
        assert batch.ip_bytes[i] == len(bytes(ip)) and batch.dscp[i] == (ip.tos if ip.version == 4 else ip.tc) >> 2
        if read.haslayer("TCP"):
            assert (batch.tcp_seq[i], batch.tcp_flags[i]) == (transport.seq, int(transport.flags))
            assert batch.payload_bytes[i] == len(bytes(transport.payload))
    assert (np.diff(batch.time_ns) >= 0).all()


@pytest.mark.parametrize("link", ["vlan", "qinq", "mpls"])
def test_reads_behind_tags_although_the_kernel_takes_the_first_off(link: str) -> None:
    packet = udp(payload=40)
    with veth_pair() as (a, b), closing(Ring(b.interface, b.pid)) as ring:
        a.send([LINKS[link][1](packet)])
        batch, _ = take(ring, 1)
    assert plain_rows(batch) == [decode_plainly(LINKS[link][1](packet), 0, 1)]


def test_says_which_packets_the_device_sent():
    with (
        veth_pair() as (a, b),
        closing(Ring(a.interface, a.pid)) as ring,
        closing(Ring(a.interface, a.pid, incoming_only=True)) as deaf,
    ):
        a.send([tcp(1, 1)])
        assert take(ring, 1)[1].tolist() == [1]
        b.send([tcp(2, 1)])
        batch, outgoing = take(ring, 1)
        assert outgoing.tolist() == [0] and batch.src[0, 1] & 255 == 2
        only, _ = take(deaf, 1)
    assert (only.src[:, 1] & 255).tolist() == [2]


def test_copies_no_more_than_headers_and_still_knows_lengths():
    with veth_pair() as (a, b), closing(Ring(b.interface, b.pid)) as ring:
        a.send([tcp(1, 1, payload=1400)])
        batch, _ = take(ring, 1)
    assert batch.ip_bytes[0] == 1440 and batch.payload_bytes[0] == 1400
    assert ring.skipped.tolist() == [0, 0, 0, 0]


def test_counts_what_it_had_no_room_for():
    with veth_pair() as (a, b), closing(Ring(b.interface, b.pid, blocks=2, block_bytes=4096, timeout_ms=1)) as ring:
        for burst in range(4):
            a.send([tcp(burst, i) for i in range(50)])
        found = 0

        def read() -> bool:
            nonlocal found
            found += len(ring.read_batch(1000)[0])
            lost.append(ring.losses())
            return found + sum(each.kernel_drops for each in lost) == 200

        lost: list = []
        until(read, "every packet to be taken or counted as dropped")
        assert found < 200 and sum(each.ring_losses for each in lost) > 0
        assert ring.losses().kernel_drops == 0  # told once


def test_a_batch_that_is_full_takes_the_rest_of_a_block_later():
    with veth_pair() as (a, b), closing(Ring(b.interface, b.pid)) as ring:
        a.send([tcp(i, i) for i in range(100)])
        first, _ = take(ring, 1)
        parts = [first]
        columns = PacketBatch.empty(7)

        def read() -> bool:
            n = ring.read(columns.columns(), np.empty(7, np.uint8), 0)
            parts.append(columns[:n].copy())
            return sum(map(len, parts)) == 100

        until(read, "all packets, seven at a time")
    assert (concatenate(parts).src[:, 1] & 0xFFFF).tolist() == list(range(100))


def test_an_interface_that_goes_is_noticed_and_found_again():
    with veth_pair() as (a, b), closing(Ring(b.interface, b.pid)) as ring:
        run("ip", "-n", b.netns, "link", "del", b.interface)

        def noticed() -> bool:
            ring.check()
            return ring.lost

        until(noticed, "the loss to be noticed")
        assert not ring.reopen() and ring.fileno() == -1 and not ring.ready
        peer = ("peer", "name", a.interface, "netns", a.netns)
        run("ip", "-n", b.netns, "link", "add", b.interface, "type", "veth", *peer)
        for side in (a, b):
            run("ip", "-n", side.netns, "link", "set", side.interface, "up")
        assert ring.reopen()
        a.send([tcp(9, 1)])
        until(lambda: ring.ready, "a packet on the new interface")


def test_says_what_is_missing():
    with veth_pair() as (_, b):
        with pytest.raises(LiveError, match=r"no capture ring on nosuch0.*is there such an interface"):
            Ring("nosuch0", b.pid)
        with pytest.raises(LiveError, match="no network namespace of process 4194305"), network_of(4194305):
            pass
    with pytest.raises(LiveError, match="whole pages"):
        Ring("lo", block_bytes=1000)

"""Hot loops of the synthetic traffic: connections begin, flows send, a slot's packets come into time order.

Every random number is the hash of a connection's or flow's number and a counter, never a stream that is
shared: so what a flow does depends on nothing but the seed. State is kept for flows that have packets left,
and for no others.
"""

from __future__ import annotations

import math

import numpy as np

from ..kernels import kernel, mix64
from .synth_model import BODY, NUMBERS

FLOW = np.dtype(
    [
        ("connection", np.uint64),
        ("salt", np.uint64),
        ("round_start_ns", np.int64),
        ("first_ns", np.int64),
        ("src_high", np.uint64),
        ("src_low", np.uint64),
        ("dst_high", np.uint64),
        ("dst_low", np.uint64),
        ("interval_ns", np.int64),
        ("gap_ns", np.int64),
        ("left", np.int64),
        ("sent", np.int64),
        ("before", np.int64),
        ("retransmitted", np.int64),
        ("round", np.int64),
        ("in_round", np.int64),
        ("window", np.int64),
        ("window_most", np.int64),
        ("loss_odds", np.float64),
        ("pause_odds", np.float64),
        ("seq", np.uint32),
        ("held_seq", np.uint32),
        ("held_bytes", np.uint32),
        ("injected", np.int32),
        ("src_port", np.uint16),
        ("dst_port", np.uint16),
        ("segment_bytes", np.uint16),
        ("header_bytes", np.uint16),
        ("kind", np.uint8),
        ("protocol", np.uint8),
        ("from_client", np.uint8),
        ("sends_data", np.uint8),
    ]
)
"""State of a flow that has packets left. `before` counts the packets sent before the trace began."""

PACKET = np.dtype(
    [
        ("src_high", np.uint64),
        ("src_low", np.uint64),
        ("dst_high", np.uint64),
        ("dst_low", np.uint64),
        ("time_ns", np.int64),
        ("seq", np.uint32),
        ("payload_bytes", np.uint32),
        ("ip_bytes", np.uint32),
        ("src_port", np.uint16),
        ("dst_port", np.uint16),
        ("protocol", np.uint8),
        ("tcp_flags", np.uint8),
        ("unused", np.uint16),
        ("unused_2", np.uint32),
    ]
)
"""A packet of a slot before sorting: one cache line."""

BULK, ATTEMPT, DATAGRAM, PACED, SCAN, SCAN_REPLY, FLOOD, FLOOD_REPLY = range(8)
"""Kinds of flow: bulk transfer (TCP or UDP), failed TCP, short exchange, steady stream, and injected ones."""

(
    TCP_SHARE,
    UDP_SHARE,
    RTT_MS,
    RTT_SIGMA,
    GAP_US,
    GAP_SIGMA,
    WINDOW_FACTOR,
    WINDOW_POWER,
    WINDOW_SIGMA,
    PAUSE_SHARE,
    PAUSE_MS,
    PAUSE_PACKETS,
    UPLOAD_SHARE,
    SHORT_SHARE,
    REQUEST_SHARE,
    PACED_SHARE,
    FASTEST,
) = range(len(NUMBERS))

NEVER = np.int64(2**62)
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
V4 = np.uint64(0xFFFF << 32)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
ROUND = np.uint64(0xD1B54A32D192ED03)
UNIT = 2.0**-53
EVEN_1, EVEN_2, EVEN_3 = (
    np.uint64(0xD1B54A32D192ED03),
    np.uint64(0xABC98388FB8FAC03),
    np.uint64(0x8CB92BA72F3D8DD7),
)
"""2**64 over powers of the root of x**4 = x + 1: multiples fill the unit cube evenly (Roberts' sequence).

Drawn so, not at random, lengths, protocols and directions keep their shares from minute to minute, the
longest flows included: else a link of a tenth of the rate would be off by a tenth and more.
"""
PAUSE_POWER, LONGEST_PAUSE = -2.0 / 3.0, 50.0
"""A pause is the shortest one times a uniform draw to this power, cut there: Pareto of exponent 1.5."""
MEAN_PAUSE = 3.0 - 2.0 / math.sqrt(LONGEST_PAUSE)
SERVERS, SERVER_SPREAD = 1_000_000.0, 30.0
CLIENTS, CLIENT_SPREAD = 4_000_000.0, 200.0


@kernel
def draw(key, number):
    """Return the 64 random bits of a counter."""
    return mix64(key + np.uint64(number + 1) * GOLDEN)


@kernel
def unit(bits):
    """Return 64 random bits as a number above 0 and below 1."""
    return (np.float64(bits >> np.uint64(11)) + 0.5) * UNIT


@kernel
def lognormal(key, number, median, sigma):
    """Return a lognormal draw."""
    radius = math.sqrt(-2.0 * math.log(unit(draw(key, number))))
    return median * math.exp(sigma * radius * math.cos(6.283185307179586 * unit(draw(key, number + 1))))


@kernel
def flow_length(u, table):
    """Return the length at which P(longer) falls below u: body from a table, beyond it a Pareto tail."""
    if u < table[BODY]:
        longer = BODY * (table[BODY] / u) ** (1.0 / table[BODY + 1])
        return np.int64(min(longer, table[BODY + 2])) + 1
    length = 1
    while length < BODY and table[length] > u:
        length += 1
    return np.int64(length)


@kernel
def address(key, rank, ipv6):
    """Return the (high, low) words of the rank-th host: unicast IPv4, or 2000::/3."""
    bits = mix64(key ^ mix64(np.uint64(rank) + GOLDEN))
    if ipv6:
        return bits >> np.uint64(3) | np.uint64(1) << np.uint64(61), mix64(bits)
    first = np.uint64(1) + (bits >> np.uint64(32)) % np.uint64(222)
    first += np.uint64(first >= np.uint64(127))
    return np.uint64(0), V4 | first << np.uint64(24) | bits & np.uint64(0xFFFFFF)


@kernel
def popular(u, hosts, spread):
    """Return a rank by a Zipf-Mandelbrot law: the first few ranks are popular, none dominates."""
    return np.int64(spread * (hosts / spread) ** u - spread)


@kernel
def protocol_of(u, numbers):
    """Return 0 for TCP, 1 for UDP and 2 for ICMP, by their shares."""
    if u < numbers[TCP_SHARE]:
        return 0
    return 1 if u < numbers[TCP_SHARE] + numbers[UDP_SHARE] else 2


@kernel
def set_endpoints(f, key, seed, ipv6_share, values):
    """Write addresses and ports, as the client sends them."""
    ipv6 = unit(draw(key, 20)) < ipv6_share
    if f.kind == ATTEMPT:
        client = np.int64(draw(key, 21) >> np.uint64(4))
    else:
        client = popular(unit(draw(key, 21)), CLIENTS, CLIENT_SPREAD)
    server = popular(unit(draw(key, 22)), SERVERS, SERVER_SPREAD)
    f.src_high, f.src_low = address(seed ^ ROUND, client, ipv6)
    f.dst_high, f.dst_low = address(seed, server, ipv6)
    if ipv6:
        f.header_bytes += 20
    if f.protocol == ICMP:
        f.src_port, f.dst_port = 0, 0
        if ipv6:
            f.protocol = ICMP6
        return
    bits = draw(key, 23)
    port = values[2 if f.kind == ATTEMPT else 1, np.int64(bits & np.uint64(1023))]
    if f.kind == DATAGRAM:
        port = 53.0 if bits & np.uint64(1024) else 123.0
    elif f.protocol == UDP and f.kind == PACED:
        port = -1.0
    if port < 0:
        port = np.float64(1024 + np.int64(bits >> np.uint64(32)) % 48000)
    f.src_port = 1024 + np.int64(bits >> np.uint64(16)) % 64512
    f.dst_port = np.int64(port)


@kernel
def set_shape(f, key, which, length, numbers, size):
    """Write the kind of a connection, the size of its packets and how they follow each other."""
    f.protocol, f.header_bytes = TCP, 52
    f.interval_ns = np.int64(min(max(lognormal(key, 10, numbers[RTT_MS], numbers[RTT_SIGMA]), 2.0), 1000.0) * 1e6)
    most = max(
        1.0,
        lognormal(key, 12, numbers[WINDOW_FACTOR], numbers[WINDOW_SIGMA]) * length ** numbers[WINDOW_POWER],
    )
    f.window_most = np.int64(max(1.0, min(most, numbers[FASTEST] * f.interval_ns * 1e-9)))
    f.pause_odds = numbers[PAUSE_SHARE] * min(1.0, math.sqrt(numbers[PAUSE_PACKETS] / length))
    f.kind = BULK
    bits = draw(key, 14)
    if which == 0:
        if bits & np.uint64(3) == np.uint64(0):
            f.header_bytes = 40
        f.segment_bytes = np.int64(size) - f.header_bytes
        if length < 3:
            f.kind, f.interval_ns, f.window_most, f.pause_odds = ATTEMPT, 1_000_000_000, 1, 0.0
    elif which == 1:
        f.protocol, f.header_bytes = UDP, 28
        f.segment_bytes = 1250 + np.int64(bits & np.uint64(127)) + 80 * np.int64(bits >> np.uint64(63))
        if length < 4:
            f.kind, f.window_most = DATAGRAM, 1
        elif length < 2000 and unit(draw(key, 15)) < numbers[PACED_SHARE]:
            f.kind, f.window_most, f.pause_odds = PACED, 1, 0.0
            f.segment_bytes = 60 + np.int64(bits >> np.uint64(8)) % 240
            f.interval_ns = 20_000_000 << np.int64(bits & np.uint64(1))
    else:
        f.protocol, f.header_bytes, f.segment_bytes = ICMP, 28, 56
        f.kind, f.window_most, f.interval_ns = PACED, 1, 1_000_000_000
    gap = lognormal(key, 16, numbers[GAP_US], numbers[GAP_SIGMA]) * 1e3
    f.gap_ns = np.int64(min(gap, 0.7 * f.interval_ns / max(f.window_most, 1))) + 1


@kernel
def turn_round(f):
    """Make the flow of the opposite direction of a flow."""
    f.src_high, f.dst_high = f.dst_high, f.src_high
    f.src_low, f.dst_low = f.dst_low, f.src_low
    f.src_port, f.dst_port = f.dst_port, f.src_port
    f.from_client = 1 - f.from_client


@kernel
def add_direction(flows, next_ns, slot, model, start_ns, length, done, with_data, loss_odds):
    """Take one direction of a connection into the table of flows; `done` is the share already sent."""
    flows[slot] = model[0]
    f = flows[slot]
    f.sends_data = 1 if with_data else 0
    f.salt = mix64(f.connection ^ (ROUND if f.from_client else GOLDEN))
    f.left = length if with_data or length < 3 else 2 + length // 2
    f.seq = np.uint32(draw(f.salt, -2) >> np.uint64(16))
    f.loss_odds = loss_odds if with_data else 0.0
    f.first_ns = start_ns
    f.before = np.int64(f.left * done)
    f.sent = f.before
    f.left -= f.before
    f.round = 0
    f.window = min(f.window_most, 10) if done == 0.0 else f.window_most
    f.in_round = 1 if f.before == 0 else round_packets(f)
    f.round_start_ns = start_ns if f.from_client or f.kind == DATAGRAM else start_ns + f.interval_ns // 3
    next_ns[slot] = f.round_start_ns


@kernel
def round_packets(f):
    """Return how many packets a flow sends in a round."""
    return f.window if f.sends_data else (f.window + 1) // 2


@kernel
def expected_ns(f, length, numbers):
    """Return about how long a connection lasts, in nanoseconds."""
    interval = f.interval_ns + f.pause_odds * numbers[PAUSE_MS] * 1e6 * MEAN_PAUSE
    return interval * (1.0 + (length - 1) / f.window_most)


@kernel
def rest_of_round_ns(f, key, numbers):
    """Draw how long it is to the next round for a flow met at any moment: long pauses are met more often."""
    pause_ns = f.pause_odds * numbers[PAUSE_MS] * 1e6 * MEAN_PAUSE
    if unit(draw(key, 7)) * (f.interval_ns + pause_ns) < f.interval_ns:
        return unit(draw(key, 9)) * f.interval_ns
    lasts, most = LONGEST_PAUSE, 1.0 / math.sqrt(LONGEST_PAUSE)
    if unit(draw(key, 8)) * MEAN_PAUSE > most:
        lasts = (1.0 - unit(draw(key, 4)) * (1.0 - most)) ** -2.0
    return f.interval_ns + unit(draw(key, 9)) * lasts * numbers[PAUSE_MS] * 1e6


@kernel
def add_connection(number, start_ns, u_scale, seed, options, numbers, lengths, values, model, flows, next_ns, free):
    """Begin a connection: draw what it is, and put its directions that cross the link into the table.

    `options` are (share with both directions, lossy share, retransmission odds, share of IPv6); `free` is a
    stack of free places, its height in free[0]. A connection of before the trace (start_ns below 0) joins
    where it would be by now, or not at all where it would be over. With `u_scale` below 1, only the longest
    such share of them begins.
    """
    key = mix64(seed + mix64(np.uint64(number) * GOLDEN + np.uint64(1)))
    which = protocol_of(unit(draw(seed, 0) + np.uint64(number) * EVEN_2), numbers)
    u = unit(draw(seed, 1) + np.uint64(number) * EVEN_1) * u_scale
    length = flow_length(u, lengths[which])
    f = model[0]
    f.connection, f.from_client, f.injected, f.retransmitted, f.held_bytes = key, 1, 0, 0, 0
    set_shape(f, key, which, length, numbers, values[0, np.int64(draw(key, 2) & np.uint64(1023))])
    done = 0.0
    if start_ns < 0:
        lasts = expected_ns(f, length, numbers)
        done = -start_ns / lasts
        if done >= 1.0 or length < 3:
            return
        start_ns = np.int64(rest_of_round_ns(f, key, numbers))
    set_endpoints(f, key, seed, options[3], values)
    upload = unit(draw(key, 3)) < numbers[UPLOAD_SHARE]
    crossing = unit(draw(seed, 2) + np.uint64(number) * EVEN_3)
    both = crossing < options[0]
    client_only = (crossing < (1.0 + options[0]) / 2) == upload
    lossy = which == 0 and f.kind == BULK and length >= 4 and unit(draw(key, 6)) < options[1]
    odds = options[2] if lossy else 0.0
    if both or client_only:
        slot = free[free[0]]
        free[0] -= 1
        add_direction(flows, next_ns, slot, model, start_ns, length, done, upload, odds)
        flows[slot].injected = -1 if both else 0
    if both or not client_only:
        slot = free[free[0]]
        free[0] -= 1
        turn_round(f)
        add_direction(flows, next_ns, slot, model, start_ns, length, done, not upload, odds)
        flows[slot].injected = -1 if both else 0


@kernel
def arrive(clock, until_ns, per_ns, u_scale, seed, options, numbers, lengths, values, model, flows, next_ns, free):
    """Begin the connections of a Poisson stream up to a time; `clock` holds (next start, next number).

    Returns False where the table of flows is full; grow it and call again.
    """
    while clock[0] < until_ns:
        if free[0] < 2:
            return False
        add_connection(
            clock[1], clock[0], u_scale, seed, options, numbers, lengths, values, model, flows, next_ns, free
        )
        clock[1] += 1
        clock[0] += np.int64(-math.log(unit(draw(seed ^ ROUND, clock[1]))) / per_ns)
    return True


@kernel
def tcp_packet(f, p, bits, numbers):
    """Write a packet of a TCP transfer: handshake, data or acknowledgements, and the end."""
    payload, flags = np.int64(0), ACK
    p.seq = f.seq
    f_sent = f.sent
    if f_sent == 0:
        flags = SYN if f.from_client else SYN | ACK
        p.ip_bytes = f.header_bytes + 8
        f.seq += np.uint32(1)
    elif f.left == 1:
        flags = FIN | ACK
        f.seq += np.uint32(1)
    elif f.sends_data:
        if f.held_bytes > 0 and unit(draw(bits, 0)) < f.loss_odds:
            p.seq, payload = f.held_seq, np.int64(f.held_bytes)
            f.held_bytes = 0
            f.retransmitted += 1
        else:
            payload = np.int64(f.segment_bytes)
            if unit(bits) < numbers[SHORT_SHARE]:
                payload = 1 + np.int64(bits & np.uint64(1023)) % payload
                flags = PSH | ACK
            if f.loss_odds > 0.0 and (f.held_bytes == 0 or bits & np.uint64(7) == np.uint64(0)):
                f.held_seq, f.held_bytes = f.seq, payload
            f.seq += np.uint32(payload)
    elif f_sent == 2 or unit(bits) < numbers[REQUEST_SHARE]:
        payload, flags = 80 + np.int64(bits & np.uint64(511)), PSH | ACK
        f.seq += np.uint32(payload)
    p.tcp_flags = flags
    p.payload_bytes = payload
    p.ip_bytes = max(p.ip_bytes, f.header_bytes) if payload == 0 else f.header_bytes + payload


@kernel
def attempt_packet(f, p):
    """Write a packet of a TCP connection that never was: a SYN and its repetition, a reset, a stray end."""
    p.seq = f.seq
    bits = draw(f.salt, -3) & np.uint64(15)
    p.tcp_flags = SYN if f.from_client else RST | ACK
    if f.injected >= 0 and bits < np.uint64(9):
        flags = ACK
        if bits < np.uint64(2):
            flags = FIN | ACK
        elif bits < np.uint64(4):
            flags = RST
        elif bits < np.uint64(6) and not f.from_client:
            flags = SYN | ACK
        p.tcp_flags = flags
    p.ip_bytes = f.header_bytes + 8 if p.tcp_flags & SYN else f.header_bytes


@kernel
def steady_packet(f, p, bits):
    """Write a packet of UDP or ICMP."""
    payload = np.int64(f.segment_bytes)
    if f.kind == DATAGRAM:
        room = 40 if f.from_client else 400
        payload = 24 + np.int64(draw(f.salt, -4) >> np.uint64(8)) % room
    elif f.kind == BULK and not f.sends_data:
        payload = 20 + np.int64(bits & np.uint64(15))
    elif f.kind == PACED and f.protocol == UDP:
        payload -= np.int64(bits & np.uint64(31))
    p.ip_bytes = f.header_bytes + payload
    if f.protocol == UDP:
        p.payload_bytes = payload


@kernel
def injected_packet(f, p, aim, seed, ports, answered, open_share):
    """Write a packet of a scan, a flood or of what answers them; returns False where nothing answers.

    A scan and its replies (a flood and its SYN-ACKs) are two flows of the table that draw the same targets.
    """
    high, low = address(aim, 0, False)
    port = 1024 + np.int64(aim >> np.uint64(40)) % 64512
    if f.kind == SCAN or f.kind == SCAN_REPLY:
        p.dst_high, p.dst_low, p.src_port = high, low, port
        p.dst_port = ports[np.int64(draw(aim, 1) >> np.uint64(8)) % len(ports)]
    else:
        p.src_high, p.src_low, p.src_port = high, low, port
    p.seq = np.uint32(draw(aim, 2) >> np.uint64(16))
    p.tcp_flags, p.ip_bytes = SYN, 44
    if f.kind == SCAN or f.kind == FLOOD:
        return True
    p.src_high, p.dst_high = p.dst_high, p.src_high
    p.src_low, p.dst_low = p.dst_low, p.src_low
    p.src_port, p.dst_port = p.dst_port, p.src_port
    p.seq = np.uint32(draw(aim, 3) >> np.uint64(16))
    p.tcp_flags = SYN | ACK
    if f.kind == FLOOD_REPLY:
        return True
    u = unit(draw(aim, 4))
    if u >= answered * open_share:
        p.tcp_flags, p.ip_bytes = RST | ACK, 40
    return u < answered


@kernel
def advance(f, now_ns, bits, numbers):
    """Count a packet as sent, and return when the flow sends its next."""
    f.sent += 1
    f.left -= 1
    f.in_round -= 1
    if f.left == 0:
        return NEVER
    if f.in_round > 0:
        return now_ns + np.int64(f.gap_ns * (0.5 + unit(bits)))
    u = draw(f.connection ^ ROUND, f.round)
    f.round_start_ns += np.int64(f.interval_ns * (0.8 + 0.4 * unit(u)))
    if f.pause_odds > 0.0 and unit(draw(u, 1)) < f.pause_odds:
        f.round_start_ns += np.int64(numbers[PAUSE_MS] * 1e6 * min(unit(draw(u, 2)) ** PAUSE_POWER, LONGEST_PAUSE))
    if f.round > 0:
        f.window = min(2 * f.window, f.window_most)
    f.round += 1
    f.in_round = round_packets(f)
    return max(f.round_start_ns, now_ns + f.gap_ns)


@kernel
def send(flows, next_ns, free, begin, until_ns, numbers, seed, ports, answers, packets, filled, ended, ends):
    """Let every flow from place `begin` on send its packets up to a time, into packets[filled:].

    `answers` are (share of probes that are answered, share of these that are open). Flows that are over leave
    the table, into ended[ends:] where they are part of the truth. Returns (place to go on from, filled,
    ends): below len(flows) where `packets` or `ended` is full.
    """
    for place in range(begin, len(flows)):
        if next_ns[place] >= until_ns:
            continue
        f = flows[place]
        now = next_ns[place]
        while now < until_ns:
            if filled == len(packets) or ends == len(ended):
                next_ns[place] = now
                return place, filled, ends
            bits = draw(f.salt, f.sent)
            p = packets[filled]
            p.time_ns = now
            p.src_high, p.src_low, p.dst_high, p.dst_low = f.src_high, f.src_low, f.dst_high, f.dst_low
            p.src_port, p.dst_port, p.protocol = f.src_port, f.dst_port, f.protocol
            p.payload_bytes, p.seq, p.tcp_flags, p.ip_bytes = 0, 0, 0, 0
            sends = True
            if f.kind >= SCAN:
                sends = injected_packet(f, p, draw(f.connection, f.sent), seed, ports, answers[0], answers[1])
            elif f.protocol != TCP:
                steady_packet(f, p, bits)
            elif f.kind == BULK:
                tcp_packet(f, p, bits, numbers)
            else:
                attempt_packet(f, p)
            if sends:
                filled += 1
            now = advance(f, now, bits >> np.uint64(1), numbers)
        next_ns[place] = now
        if f.left == 0:
            if f.retransmitted > 0 or f.injected > 0:
                ended[ends] = f
                ends += 1
            free[0] += 1
            free[free[0]] = place
    return len(flows), filled, ends


@kernel
def bucket_order(packets, filled, start_ns, width_ns, counts, order):
    """Write the order of the first `filled` packets by time: counting by buckets of time, then insertion."""
    counts[:] = 0
    buckets = len(counts) - 1
    for i in range(filled):
        counts[min((packets[i].time_ns - start_ns) // width_ns, buckets - 1) + 1] += 1
    for b in range(buckets):
        counts[b + 1] += counts[b]
    for i in range(filled):
        b = min((packets[i].time_ns - start_ns) // width_ns, buckets - 1)
        order[counts[b]] = i
        counts[b] += 1
    for i in range(1, filled):
        this = order[i]
        time_ns = packets[this].time_ns
        j = i - 1
        while j >= 0 and packets[order[j]].time_ns > time_ns:
            order[j + 1] = order[j]
            j -= 1
        order[j + 1] = this


@kernel
def to_columns(
    packets,
    order,
    epoch_ns,
    time_ns,
    src,
    dst,
    src_port,
    dst_port,
    protocol,
    ip_bytes,
    payload,
    flags,
    seq,
    dscp,
):
    """Write packets in order into the columns of a batch."""
    for i in range(len(time_ns)):
        p = packets[order[i]]
        time_ns[i] = p.time_ns + epoch_ns
        src[i, 0], src[i, 1] = p.src_high, p.src_low
        dst[i, 0], dst[i, 1] = p.dst_high, p.dst_low
        src_port[i], dst_port[i], protocol[i] = p.src_port, p.dst_port, p.protocol
        ip_bytes[i], payload[i], flags[i], seq[i] = p.ip_bytes, p.payload_bytes, p.tcp_flags, p.seq
        dscp[i] = 0

"""Hot loops that sort packets which are nearly in time order."""

from __future__ import annotations

from ..kernels import kernel


@kernel
def in_order(time_ns, ordered, given_ns):
    """Tell whether times never fall; the first `ordered` do not, and what came before them ends at `given_ns`."""
    latest = time_ns[ordered - 1] if ordered > 0 else given_ns
    for i in range(ordered, len(time_ns)):
        if time_ns[i] < latest:
            return False
        latest = time_ns[i]
    return True


@kernel
def insert_in_order(time_ns, ordered, window, given_ns, order):
    """Write the time order of the packets to `order`, by insertion; the first `ordered` are in order already.

    A packet that would move before more than `window` packets is left out, and so is one before `given_ns`.
    Returns (packets in `order`, packets that moved, packets left out).
    """
    for i in range(ordered):
        order[i] = i
    count = ordered
    moved = 0
    late = 0
    for i in range(ordered, len(time_ns)):
        now = time_ns[i]
        barrier = count - 1 - window
        if (barrier >= 0 and time_ns[order[barrier]] > now) or (barrier < 0 and given_ns > now):
            late += 1
            continue
        place = count
        while place > 0 and time_ns[order[place - 1]] > now:
            order[place] = order[place - 1]
            place -= 1
        order[place] = i
        moved += place < count
        count += 1
    return count, moved, late

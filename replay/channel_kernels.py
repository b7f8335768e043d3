"""Hot loops that find the modules of a task on every route (`channels.py` says what for).

A route is the first `reach[r]` devices of the path `path[r]`. Entry i of `on` is 1 where entry i of the paths' devices
has a monitor; `selector_at[p]` is the place of the selector on path p, -1 where none watches it. Each loop runs twice:
without room it only counts, then it writes.
"""

from __future__ import annotations

from ..kernels import lean_kernel


@lean_kernel
def crossed(path, reach, start, devices, on, number, selector_at, counts, out_start, items, reached):
    """List the monitors that each route crosses, and for each whether it stands at or behind the selector."""
    for r in range(len(path)):
        begin = start[path[r]]
        selector = selector_at[path[r]]
        watched = selector >= 0 and selector < reach[r]
        found = 0
        for i in range(reach[r]):
            if on[begin + i]:
                if len(items):
                    items[out_start[r] + found] = number[devices[begin + i]]
                    reached[out_start[r] + found] = watched and i >= selector
                found += 1
        counts[r] = found


@lean_kernel
def reverse_reached(path, reach, start, devices, on, number, selector_at, reverse, counts, out_start, items):
    """List the monitors that a tag for the reverse flow reaches on each route.

    The reverse flow's selector sets it on the packets of this route that cross it. The monitors lie behind it here and
    before it there; they are listed in the order of the reverse path.
    """
    for r in range(len(path)):
        back = reverse[path[r]]
        begin = start[back]
        last = start[back + 1] - begin - 1
        selector = selector_at[back]
        found = 0
        if selector >= 0 and last - selector < reach[r]:
            for i in range(selector):
                if on[begin + i] and last - i < reach[r]:
                    if len(items):
                        items[out_start[r] + found] = number[devices[begin + i]]
                    found += 1
        counts[r] = found


@lean_kernel
def add_spans(begin, items, weight, load):
    """Add the weight of each path to the load of each monitor that concerns it."""
    for p in range(len(begin) - 1):
        for i in range(begin[p], begin[p + 1]):
            load[items[i]] += weight[p]


@lean_kernel
def mark_tagged(start, devices, on, selector_at, reverse, forward, backward, marks):
    """Set `marks[a, b]` for the links from device a to b on which a task's tagged packets can be.

    On a path they are from the selector to its last monitor, and from the selector of the reverse path to the last
    of that path's monitors; `forward[p]` and `backward[p]` say whether the path's packets are tagged so.
    """
    for p in range(len(start) - 1):
        begin, length = start[p], start[p + 1] - start[p]
        for way in range(2):
            if way == 0 and forward[p]:
                tagged_at = selector_at[p]
                last = length - 1
                while last >= 0 and not on[begin + last]:
                    last -= 1
            elif way == 1 and backward[p]:
                back = start[reverse[p]]
                tagged_at = length - 1 - selector_at[reverse[p]]
                last = length - 1
                while last >= 0 and not on[back + length - 1 - last]:
                    last -= 1
            else:
                continue
            for i in range(tagged_at, last):
                marks[devices[begin + i], devices[begin + i + 1]] = 1

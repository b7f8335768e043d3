"""Hot loops over all paths between all hosts of a network (`host_paths.py` says what for)."""

from __future__ import annotations

from ..kernels import lean_kernel


@lean_kernel
def walk(a, b, edge_start, edges, cost, remaining, most, path, turn, out, at):
    """Walk all shortest paths from switch a to b in order of their nodes; return how many there are, at most `most`.

    Neighbours of switch n are `edges[edge_start[n]:edge_start[n + 1]]`, ascending, and `cost` what it costs to go
    there; `remaining[n, b]` is the least cost from n to b. `path` and `turn` are room for the walk. Where `out` has
    room the nodes of the paths are written from `at` on.
    """
    found = 0
    length = 0
    path[0] = a
    turn[0] = edge_start[a]
    while length >= 0:
        here = path[length]
        if here == b:
            if len(out):
                for i in range(length + 1):
                    out[at] = path[i]
                    at += 1
            found += 1
            if found == most:
                return found
            length -= 1
            continue
        moved = False
        while turn[length] < edge_start[here + 1]:
            edge = turn[length]
            turn[length] += 1
            there = edges[edge]
            if cost[edge] + remaining[there, b] == remaining[here, b]:
                new = True
                for i in range(length + 1):  # links that cost nothing could lead in a circle
                    new = new and path[i] != there
                if new:
                    length += 1
                    path[length] = there
                    turn[length] = edge_start[there]
                    moved = True
                    break
        if not moved:
            length -= 1
    return found


@lean_kernel
def count_paths(pairs, edge_start, edges, cost, remaining, most, path, turn, nothing, found, length):
    """Write how many shortest paths each pair of switches has, at most `most`, and how many nodes the first has."""
    for i in range(len(pairs)):
        a, b = pairs[i, 0], pairs[i, 1]
        found[i] = walk(a, b, edge_start, edges, cost, remaining, most, path, turn, nothing, 0)
        walk(a, b, edge_start, edges, cost, remaining, 1, path, turn, nothing, 0)
        length[i] = 1
        while path[length[i] - 1] != b:
            length[i] += 1


@lean_kernel
def write_paths(pairs, edge_start, edges, cost, remaining, most, path, turn, start, out):
    """Write the nodes of the shortest paths of each pair of switches, from `start` of the pair on."""
    for i in range(len(pairs)):
        walk(pairs[i, 0], pairs[i, 1], edge_start, edges, cost, remaining, most, path, turn, out, start[i])


@lean_kernel
def between_hosts(host_a, host_b, core, turned, core_start, core_nodes, offset, start, out):
    """Write the devices of each path between hosts: its first host, a path between switches, and its last host.

    `core[p]` is the number of the path between switches, `turned[p]` whether it is taken backwards; `offset` is added
    to switches.
    """
    for p in range(len(core)):
        at = start[p]
        out[at] = host_a[p]
        at += 1
        begin, end = core_start[core[p]], core_start[core[p] + 1]
        for i in range(begin, end):
            out[at] = offset + core_nodes[end - 1 - (i - begin) if turned[p] else i]
            at += 1
        out[at] = host_b[p]


@lean_kernel
def parting(first, count, start, devices, position):
    """Write for each path where the paths of its pair part: the first place with different devices, -1 where none."""
    for pair in range(len(first)):
        one = first[pair]
        part = -1
        if count[pair] > 1:
            for i in range(start[one + 1] - start[one]):
                for p in range(one + 1, one + count[pair]):
                    if devices[start[p] + i] != devices[start[one] + i]:
                        part = i
                        break
                if part >= 0:
                    break
        for p in range(one, one + count[pair]):
            position[p] = part


@lean_kernel
def peers(first, count, start, devices, position, counts, out_start, out):
    """Write for each path the members of its ECMP set that do not lie on it, in the order of the paths.

    Where `out` has no room only their number is written to `counts`.
    """
    for pair in range(len(first)):
        one = first[pair]
        for p in range(one, one + count[pair]):
            found = 0
            part = position[p]
            if part >= 0:
                for q in range(one, one + count[pair]):
                    member = devices[start[q] + part]
                    fresh = True
                    for before in range(one, q):
                        fresh = fresh and devices[start[before] + part] != member
                    for i in range(start[p], start[p + 1]):
                        fresh = fresh and devices[i] != member
                    if fresh:
                        if len(out):
                            out[out_start[p] + found] = member
                        found += 1
            counts[p] = found

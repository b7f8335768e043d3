#!/bin/sh
# Topohub 1.5.1 gives networks that SNDlib draws in pixels a `dist` as if their pixels were degrees of longitude and latitude.
#
# Seen: in data/sndlib/sun.json the nodes of the first edge are at (86, 534) and (67, 405), which is no place on the
# globe; they are 130 pixels apart, and `dist` says 14,039.94. Nothing in the file says that `dist` is no length. A tool that
# derives latencies from it gives neighbours of one city 91 ms.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-deps --target "$work" topohub==1.5.1
python3 - "$work" <<'PYTHON'
import json
import math
import sys
from pathlib import Path

found = {}
for file in sorted(Path(sys.argv[1], "topohub", "data", "sndlib").glob("*.json")):
    document = json.loads(file.read_text())
    at = {node["id"]: node["pos"] for node in document["nodes"]}
    if all(abs(x) <= 180 and abs(y) <= 90 for x, y in at.values()):
        continue
    edge = document["edges"][0]
    found[file.stem] = (math.dist(at[edge["source"]], at[edge["target"]]), edge["dist"])
    print(f"{file.stem}: first edge {found[file.stem][0]:.0f} pixels, dist {found[file.stem][1]:,.0f} km")
assert len(found) >= 10, found
assert found["sun"][1] == 14039.94, found["sun"]
assert max(dist for _, dist in found.values()) > 16_000
print(f"topohub 1.5.1: {len(found)} networks in pixels have lengths in km")
PYTHON

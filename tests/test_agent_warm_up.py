"""Warming up leaves nothing to compile: no packet, selection or record waits for a compiler."""

from __future__ import annotations

import subprocess
import sys

from mozart.tests.agent_worlds import needs_root

AGENT_AT_WORK = """
import sys
from mozart.agents.device import Device
from mozart.agents.places import Place
from mozart.agents.warm_up import warm_up
from mozart.tests.agent_worlds import MemoryLink, configuration, monitor, rounds, selector, tcp, veth_pair

def compiled():
    modules = [(name, module) for name, module in sorted(sys.modules.items()) if name.endswith("_kernels")]
    return {
        f"{name}.{what}{signature}"
        for name, module in modules
        for what, value in vars(module).items()
        for signature in getattr(value, "signatures", ())
    }

warm_up()
before = compiled()
with veth_pair() as (a, b):
    link = MemoryLink()
    device = Device(Place("h2", "host", b.interface, b.pid), link)
    for map, prefixes in (("hash", {}), ("prefix", {"h1": ("10.0.0.0/8",), "h2": ("192.0.2.0/24",)})):
        link.incoming.append(configuration("h2", map=map, prefixes=prefixes, selectors=(selector(),), monitors=(
            monitor(),)))
        device.work(0)
        known = device.counters["selected"]
        a.send([tcp(flow, 1000 + 10 * (i - (i == 2))) for flow in range(20) for i in range(4)])
        rounds(device, lambda: device.counters["selected"] > known, "a selection")
    device.close(2**62)
assert link.reports
print(*sorted(compiled() - before), sep="\\n")
"""


@needs_root
def test_an_agent_at_work_compiles_nothing():
    done = subprocess.run([sys.executable, "-c", AGENT_AT_WORK], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["", ""]

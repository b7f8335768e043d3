"""What some tests need beside Python: one name, one check and one reason each.

A test that lacks something is skipped, and the reason opens with "needs NAME:". MOZART_REQUIRE=root,ovs (any of the
names) makes such a skip a failure: there the machine must have it (see conftest.py).
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mozart.live.network import ovs_runs, start_ovs
from mozart.live.things import OVS_CTL

TRACES = Path(__file__).resolve().parent.parent.parent / "shared" / "traces"
"""Where the developers of mozart have real traces, beside the repository."""
SETUP = "scripts/setup live, as root, installs it"
REQUIRED = "MOZART_REQUIRE"


def programs(*names: str) -> Callable[[], bool]:
    """Say whether all these programs are there."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])  # an ordinary user's may lack these
    return lambda: all(shutil.which(name, path=path) is not None for name in names)


def modules(*names: str) -> Callable[[], bool]:
    """Say whether all these Python packages are there."""
    return lambda: all(importlib.util.find_spec(name) is not None for name in names)


NEEDS: dict[str, tuple[Callable[[], bool], str]] = {
    "root": (lambda: os.geteuid() == 0, "only root may make network namespaces and switches"),
    "ip": (programs("ip", "tc", "ethtool"), f"iproute2 and ethtool; {SETUP}"),
    "namespaces": (programs("unshare", "nsenter"), "util-linux's unshare and nsenter"),
    "nft": (programs("nft"), f"nftables; {SETUP}"),
    "ping": (programs("ping"), "iputils-ping; scripts/setup, as root, installs it"),
    "ovs": (lambda: programs("ovs-vsctl", "ovs-ofctl")() and Path(OVS_CTL).exists(), f"Open vSwitch; {SETUP}"),
    "mosquitto": (programs("mosquitto"), f"mosquitto; {SETUP}"),
    "tcpreplay": (programs("tcpreplay"), f"tcpreplay; {SETUP}"),
    "mnexec": (programs("mnexec"), f"Debian's mininet; {SETUP}"),
    "mininet": (modules("mininet"), f"Mininet's Python package; {SETUP}"),
    "ryu": (modules("ryu", "eventlet"), f"Ryu and eventlet; {SETUP}"),
    "paho": (modules("paho"), f"paho-mqtt; {SETUP}"),
    "tshark": (programs("tshark"), "tshark; scripts/setup, as root, installs it"),
    "nfdump": (programs("nfdump", "nfcapd"), "nfdump with its nfcapd; scripts/setup, as root, installs it"),
    "gcc": (programs("gcc"), "a C compiler"),
    "scapy": (modules("scapy"), "scapy; scripts/setup installs it"),
    "dask": (modules("dask", "distributed"), "Dask; scripts/setup installs it"),
    "traces": (TRACES.is_dir, "real traces that only mozart's developers have: they may not be published"),
}


def lacks(*names: str) -> str:
    """Say what is missing of these, as the reason of a skip; "" where all is there."""
    missing = [f"needs {name}: {NEEDS[name][1]}" for name in names if not NEEDS[name][0]()]
    return ", and ".join(missing)


def needs(*names: str) -> pytest.MarkDecorator:
    """Mark a test, or with `pytestmark` a module, as one that needs these."""
    reason = lacks(*names)
    return pytest.mark.skipif(bool(reason), reason=reason)


def need(*names: str) -> None:
    """Skip the test that runs, or the module that is imported, where one of these is missing."""
    reason = lacks(*names)
    if reason:
        pytest.skip(reason, allow_module_level=True)


def required() -> set[str]:
    """Read which names MOZART_REQUIRE has; raises UsageError for a name that is none."""
    names = {name.strip() for name in os.environ.get(REQUIRED, "").split(",") if name.strip()}
    if unknown := names - NEEDS.keys():
        raise pytest.UsageError(f"{REQUIRED}: no {', '.join(sorted(unknown))}; there are {', '.join(NEEDS)}")
    return names


def wrongly_skipped(reason: str, names: set[str]) -> set[str]:
    """Return which of the required names a skip's reason says to be missing."""
    return names & set(re.findall(r"\bneeds ([a-z]+):", reason))


def trace(name: str) -> Path:
    """Return a real trace by its file's name; skip the test where it is not there."""
    need("traces")
    return TRACES / name


def run_ovs() -> None:
    """Have Open vSwitch run for the tests; what is started here stops when the tests end (see conftest.py)."""
    if not ovs_runs():
        start_ovs()

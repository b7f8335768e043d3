"""Configurations and explicit messages are checked on arrival: each wrong value is named, with where it stands."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from mozart.agents.bus_link import told_of
from mozart.agents.link import Told
from mozart.bus.config import DeviceConfig
from mozart.bus.schema import MOST_TOLD
from mozart.errors import BusError
from mozart.tests.agent_worlds import ALL_PAIRS, configuration, monitor, selector

GOOD = configuration(
    selectors=(
        selector(tells={"h1>h2": ("s7", "h4")}, span={"h1>h2": 3}, parameters={"ports": (1, 2)}),
        selector("b", code=None, tags_forward=False, table=0),
    ),
    monitors=(monitor(), monitor("c", code=None, heeds_tag=())),
    prefixes={"h1": ("192.0.2.0/24", "2001:db8::/32")}, map="prefix", observations="/tmp/x", end_ns=5, preserve_bytes=7,
)  # fmt: skip


def changed(path: str, value: Any) -> str:
    """The good configuration with one value changed; a value of `...` takes the key away."""
    given = json.loads(GOOD.to_json())
    *way, last = path.split("/")
    table = given
    for step in way:
        table = table[int(step) if isinstance(table, list) else step]
    if value is ...:
        del table[last]
    else:
        table[int(last) if isinstance(table, list) else last] = value
    return json.dumps(given)


def test_what_was_written_is_read() -> None:
    assert DeviceConfig.from_json(GOOD.to_json()) == GOOD
    assert DeviceConfig.from_dict(dataclasses.asdict(GOOD)) == GOOD
    assert DeviceConfig.from_json(changed("selectors/0/hold_s", 30)) == GOOD  # a whole number is a number


WRONG = [
    ("version", 2, "its version is 2, and this agent reads version 1"),
    ("version", ..., "its version is None"),
    ("version", True, "its version is True"),
    ("colour", 1, "colour: unknown key"),
    ("device", "x1", "device: must be a device's name"),
    ("device", "../s1", "device: must be a device's name"),
    ("device", ..., "device: is missing"),
    ("revision", -1, "revision: must be a whole number"),
    ("revision", "1", "revision: must be a whole number"),
    ("revision", True, "revision: must be a whole number"),
    ("revision", 1.5, "revision: must be a whole number"),
    ("epoch_ns", 0, "epoch_ns: must be a whole number"),
    ("epoch_start_ns", 2**63, "epoch_start_ns: must be a whole number"),
    ("end_ns", "now", "end_ns: must be a whole number"),
    ("probability", 1.01, "probability: must be a number from 0 to 1"),
    ("probability", float("nan"), "probability: must be a number from 0 to 1"),
    ("map", "random", "map: must be one of hash, prefix"),
    ("hosts", "h1", "hosts: must be a list"),
    ("hosts", ["h1", "h1", "h2", "h3", "h4"], "hosts: holds a value more than once"),
    ("hosts/0", "s1", r"hosts\[0\]: must be a host's name"),
    ("prefixes", {"h9": ["192.0.2.0/24"]}, "prefixes.h9: no host"),
    ("prefixes", {"h1": ["192.0.2.1/24"]}, "prefixes.h1: '192.0.2.1/24' is no prefix"),
    ("prefixes", {"h1": [3]}, "prefixes.h1: must be a list of texts|prefixes.h1.*must be a text"),
    ("flow_secret", "abc", "flow_secret must have"),
    ("flow_secret", 3, "flow_secret: must be a text"),
    ("flow_secret", ..., "flow_secret: is missing"),
    ("observations", "a\0b", "observations: must be the path"),
    ("selectors", {}, "selectors: must be a list"),
    ("selectors/0", 3, r"selectors\[0\]: must be a table"),
    ("selectors/0/task", "a b", r"selectors\[0\].task: must be a task's name"),
    ("selectors/0/task", "a" * 101, r"selectors\[0\].task: must be a task's name"),
    ("selectors/0/task", "b", "selectors: two of one task: b"),
    ("selectors/0/holds", 3, r"selectors\[0\].holds: unknown key \(did you mean hold_s"),
    ("selectors/0/hold_s", 0, r"selectors\[0\].hold_s: must be a number above 0"),
    ("selectors/0/hold_s", float("inf"), r"selectors\[0\].hold_s: must be a number above 0"),
    ("selectors/0/detection_delay_ms", -1, r"detection_delay_ms: must be a number"),
    ("selectors/0/memory_entries", 0, r"memory_entries: must be a whole number"),
    ("selectors/0/memory_entries", 2**40, r"memory_entries: must be a whole number"),
    ("selectors/0/watches/0", "h1>h9", r"selectors\[0\].watches: no pair of hosts of the network: h1>h9"),
    ("selectors/0/watches/0", "h1>h1", r"selectors\[0\].watches: no pair of hosts of the network: h1>h1"),
    ("selectors/0/watches/0", 7, r"selectors\[0\].watches"),
    ("selectors/0/tells", {"h1>h2": ["mozart/#"]}, r"tells.h1>h2\[0\]: must be a device's name"),
    ("selectors/0/tells", {"h1": ["s1"]}, "tells: no pair of hosts"),
    ("selectors/0/span", {"h1>h2": -1}, "span.h1>h2: must be a whole number"),
    ("selectors/0/code", {"value": 64, "mask": 64}, r"code.value: must be a whole number from 1 to 63"),
    ("selectors/0/code", {"value": 2, "mask": 1}, "the value within the mask"),
    ("selectors/0/code", {"value": 1}, "code.mask: is missing"),
    ("selectors/0/code", None, r"selectors\[0\]: is to tag, and has no code"),
    ("selectors/0/tags_forward", 1, "tags_forward: must be true or false"),
    ("selectors/0/table", 17, "table: must be a whole number from 0 to 16"),
    ("selectors/0/parameters", {"threshold": float("nan")}, "parameters.threshold: must be a finite number"),
    ("selectors/0/parameters", [1], "parameters: must be a table of keys"),
    ("monitors/0/heeds_tag", ["h9>h1"], r"monitors\[0\].heeds_tag: no pair"),
    ("monitors/1/task", "lossy", "monitors: two of one task: lossy"),
    ("codes", [{"value": 0, "mask": 1}], r"codes\[0\].value: must be a whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "why"), WRONG)
def test_a_wrong_value_is_named(path: str, value: Any, why: str) -> None:
    with pytest.raises(BusError, match=f"not the configuration of a device: .*(?:{why})"):
        DeviceConfig.from_json(changed(path, value))


def test_a_selector_that_tags_at_a_switch_needs_a_table_of_its_own() -> None:
    switch = dataclasses.replace(GOOD, device="s1")
    for tables, why in (((0, 2), "has no table of its own"), ((2, 2), "two tasks with one table")):
        selectors = tuple(selector(task, table=table) for task, table in zip("ab", tables, strict=True))
        with pytest.raises(BusError, match=why):
            DeviceConfig.from_json(dataclasses.replace(switch, selectors=selectors).to_json())


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "null", "{", "[" * 100_000, '{"version": 1, "version": 1}', b"\xff\xfe", "9" * 5000],
)  # fmt: skip
def test_what_is_no_json_table_is_a_bus_error(text: str | bytes) -> None:
    with pytest.raises(BusError, match="not the configuration of a device"):
        DeviceConfig.from_json(text)


def test_all_that_is_wrong_is_told_at_once_within_bounds() -> None:
    given = json.loads(GOOD.to_json()) | {"revision": -1, "mode": 3, "colour": 1}
    with pytest.raises(BusError, match=r"colour.*revision.*mode|colour.*mode.*revision"):
        DeviceConfig.from_json(json.dumps(given))
    given = json.loads(GOOD.to_json()) | {f"key{i}": 1 for i in range(1000)}
    with pytest.raises(BusError, match=f"and {1000 - MOST_TOLD} more") as found:
        DeviceConfig.from_json(json.dumps(given))
    assert len(str(found.value)) < 1000


def test_every_value_of_another_type_is_refused_or_read_and_nothing_else_is_raised() -> None:
    given = json.loads(GOOD.to_json())

    def places(value: Any, path: str) -> list[str]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [path] + [place for key, each in list(inner)[:3] for place in places(each, f"{path}/{key}")]

    values: list[Any] = [None, True, -1, 2**70, 1.5, float("nan"), "", "h1>h2", "x" * 300, [], [[]], {}, {"a": {}}]
    for path in places(given, "")[1:]:
        for value in values:
            try:
                made = DeviceConfig.from_json(changed(path[1:], value))
            except BusError:
                continue
            assert DeviceConfig.from_json(made.to_json()) == made


TOLD = {"version": 1, "task": "lossy", "key": str(2**64 - 1), "time_ns": 5, "kind": "select", "span": 3}


def test_an_explicit_message_is_read() -> None:
    assert told_of(json.dumps(TOLD).encode(), 9) == Told("lossy", 2**64 - 1, 5, "select", 3, 9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 2}, {"task": "a/b"}, {"task": 3}, {"key": str(2**64)}, {"key": -1}, {"key": "-1"}, {"key": True},
        {"key": "x"}, {"time_ns": -1}, {"time_ns": "5"}, {"time_ns": 2**70}, {"kind": "nonsense"}, {"span": -1},
        {"span": 1.5}, {"span": None}, {"colour": 1},
    ],
)  # fmt: skip
def test_what_is_no_explicit_message_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BusError, match="not an explicit message"):
        told_of(json.dumps({**TOLD, **wrong}).encode(), 9)


def test_pairs_of_all_hosts_are_known() -> None:
    assert set(GOOD.selectors[0].watches) == set(ALL_PAIRS)

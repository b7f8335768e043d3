"""The secret of a live run's flow keys: drawn for each run, the same in all its plans, and for its owner alone."""

from __future__ import annotations

import dataclasses
import json
import stat
from pathlib import Path

import pytest
from mozart.bus.config import DeviceConfig
from mozart.controller.plan import main, make_plan
from mozart.controller.planned import Plan, adopt, load_plan, write_whole
from mozart.errors import BusError
from mozart.replay.vocabulary import load
from mozart.traces.keys import seeded_secret

TASK = {"name": "t", "selector": {"event": "loss", "at": "source-host"}, "monitor": {"measure": "volume", "at": "h2"}}
SPEC = {"topology": {"name": "line", "n": 2}, "tasks": [TASK]}


def plan_of(**more: object) -> Plan:
    return make_plan(load(SPEC), **more)  # type: ignore[arg-type]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def planned(folder: Path, request: dict[str, object]) -> Plan:
    """Plan as the process of the planner does."""
    folder.mkdir(exist_ok=True)
    (folder / "asked.json").write_text(json.dumps(request))
    assert main([str(folder / "asked.json"), str(folder / "plan.json")]) == 0
    return load_plan(folder / "plan.json")


def test_every_run_draws_a_secret_and_keeps_it(tmp_path: Path) -> None:
    secrets = set()
    for name in ("one", "two"):
        first = planned(tmp_path / name, {"spec": SPEC})
        later = [first.at_times({"end_ns": 5}), planned(tmp_path / name, {**first.request, "revision": 2})]
        told = {config.flow_secret for plan in (first, *later) for config in plan.devices.values()}
        assert len(told) == 1 and told == {plan.request["flow_secret"] for plan in (first, *later)}
        secrets |= told
    assert len(secrets) == 2 and all(len(secret) == 64 for secret in secrets)
    assert seeded_secret(1) not in secrets


def test_files_with_the_secret_are_for_their_owner_alone(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"spec": SPEC})
    adopt(tmp_path, plan)
    secret = plan.request["flow_secret"]
    has_it = [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_text()]
    assert {path.name for path in has_it} == {"plan.json", "1.json"}
    assert {mode_of(path) for path in has_it} == {0o600}
    (tmp_path / ".again.draft").write_text("what a crash left, for all to read")
    (tmp_path / ".again.draft").chmod(0o644)
    write_whole(tmp_path / "again", b"x")
    assert mode_of(tmp_path / "again") == 0o600


def test_a_configuration_without_a_secret_is_refused_and_none_shows_it() -> None:
    config = plan_of(flow_secret="ab" * 32).devices["h1"]
    assert "abab" not in repr(config)
    given = json.loads(config.to_json())
    assert DeviceConfig.from_json(json.dumps(given)) == config
    for wrong in ("", "ab", "xy" * 32, 7, None):
        with pytest.raises(BusError, match="flow_secret"):
            DeviceConfig.from_json(json.dumps(given | {"flow_secret": wrong}))
    del given["flow_secret"]
    with pytest.raises(BusError, match="flow_secret"):
        DeviceConfig.from_json(json.dumps(given))
    assert dataclasses.replace(config, flow_secret="cd" * 16).flow_secret == "cd" * 16

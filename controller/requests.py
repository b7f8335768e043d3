"""Requests: what an operator asks of a running network, as changes of the request for a plan. Pure.

A request is JSON: {"id", "op", ...}. `list` asks for the tasks, `add` brings `tasks` as a task file has them, `remove`
names `tasks`, `time` sets `epoch_start_ns` and `end_ns`, `rules` asks what the switches have. The reply has the same
id, "ok", and "error" or what was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import BusError, SpecError
from .planned import Plan

OPERATIONS = ("list", "add", "remove", "time", "rules")
TIMES = ("epoch_start_ns", "end_ns")


def read(payload: bytes) -> dict[str, Any]:
    """Read a request; raises BusError for what is none."""
    try:
        message = json.loads(payload)
    except ValueError:
        raise BusError("a request that is no JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("id"), str | int):
        raise BusError("a request without an id")
    return message


def changed(request: Mapping[str, Any], message: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the request for a plan that a message asks for; None where it asks for no change of the tasks.

    Raises SpecError for a message that asks for nothing that there is.
    """
    op = message.get("op")
    if op not in OPERATIONS:
        raise SpecError(f"there is no operation {op!r}; there are {', '.join(OPERATIONS)}")
    if op not in ("add", "remove"):
        return None
    tasks = message.get("tasks")
    if not isinstance(tasks, list) or not tasks:
        raise SpecError(f"{op}: tasks must be a list of {'tasks' if op == 'add' else 'names'}, of at least one")
    present = request["spec"]["tasks"]
    if op == "add":
        return {**request, "spec": {**request["spec"], "tasks": [*present, *tasks]}}
    names = [task["name"] for task in present]
    for name in tasks:
        if name not in names:
            raise SpecError(f"there is no task {name!r}; there are {', '.join(names) or 'none'}")
    left = [task for task in present if task["name"] not in tasks]
    return {**request, "spec": {**request["spec"], "tasks": left}}


def times_of(message: Mapping[str, Any]) -> dict[str, int | None]:
    """Return the times that a message sets, none for most; raises SpecError for what is no time."""
    if message.get("op") != "time":
        return {}
    times = {name: message[name] for name in TIMES if name in message}
    for name, value in times.items():
        if not isinstance(value, int) and not (name == "end_ns" and value is None):
            raise SpecError(f"time: {name} must be a whole number of ns since 1970, not {value!r}")
    return times


def refused_additions(message: Mapping[str, Any], plan: Plan) -> str:
    """Return why tasks that were to be added would not run in a plan; empty where all would."""
    if message.get("op") != "add":
        return ""
    names = {task.get("name") for task in message["tasks"]}
    return "; ".join(f"{r['task']}: {r['reason']}" for r in plan.refused if r["task"] in names)


def listing(plan: Plan) -> dict[str, Any]:
    """Return what a plan says about its tasks, as the reply to `list` has it."""
    reasons = {refusal["task"]: refusal["reason"] for refusal in plan.refused}
    return {
        "revision": plan.revision,
        "tasks": [
            {
                "name": task["name"],
                "event": task["selector"]["event"],
                "measure": task["monitor"]["measure"],
                "runs": task["name"] in plan.placement,
                "reason": reasons.get(task["name"]),
                "modules": dict(plan.placement.get(task["name"], {})),
                "channels": list(plan.channels.get(task["name"], ())),
            }
            for task in plan.request["spec"]["tasks"]
        ],
        "moves": [dict(move) for move in plan.new_moves],
        "down": sorted(plan.down),
        "cut_off": list(plan.cut_off),
    }

"""Requests: what an operator asks of a running network, as changes of the request for a plan. Pure.

A request is JSON: {"version", "id", "op", ...}. `list` asks for the tasks, `add` brings `tasks` as a task file has
them, `remove` names `tasks`, `time` sets `epoch_start_ns` and `end_ns`, `rules` asks what the switches have. The reply
has the same id, "ok", and "error" or what was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..bus.schema import TASK, Free, Items, Schema, Table, checked, read_json
from ..errors import BusError, SpecError
from ..fields import Field
from .planned import Plan

VERSION = 1
"""Of the schema of requests and replies; another one is refused."""
MOST_ID = 200
TIMES = ("epoch_start_ns", "end_ns")
_TIME = Field(int, minimum=0, maximum=2**62, form="a whole number of ns since 1970,")
_COMMON: dict[str, Schema] = {
    "version": Field(int, minimum=VERSION, maximum=VERSION), "op": Field(str),
}  # fmt: skip
_MORE: dict[str, dict[str, Schema]] = {
    "list": {},
    "add": {"tasks": Items(Free(), 1000)},
    "remove": {"tasks": Items(Field(str, pattern=TASK, form="a task's name"), 1000)},
    "time": {"epoch_start_ns": _TIME, "end_ns": Field(int, default=None, minimum=0, maximum=2**62, form=_TIME.form)},
    "rules": {},
}
OPERATIONS = tuple(_MORE)


def read(payload: bytes) -> dict[str, Any]:
    """Read a request; raises BusError for what is none."""
    message = read_json(payload, "a request")
    if not isinstance(message.get("id"), str | int) or len(str(message["id"])) > MOST_ID:
        raise BusError("not a request: its id must be a text or a number, not long")
    return message


def check(message: Mapping[str, Any]) -> None:
    """Check all of a request; raises SpecError, naming all that is wrong."""
    op = message.get("op")
    if op not in OPERATIONS:
        raise SpecError(f"there is no operation {op!r}; there are {', '.join(OPERATIONS)}")
    more = _MORE[op]
    optional = frozenset(more) if op == "time" else frozenset()
    try:
        given = {key: value for key, value in message.items() if key != "id"}  # `read` has checked that
        checked(given, Table({**_COMMON, **more}, optional), f"a request to {op}")
    except BusError as error:
        raise SpecError(str(error)) from None
    if op in ("add", "remove") and not message["tasks"]:
        raise SpecError(f"{op}: tasks must be a list of {'tasks' if op == 'add' else 'names'}, of at least one")


def changed(request: Mapping[str, Any], message: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the request for a plan that a message asks for; None where it asks for no change of the tasks.

    Raises SpecError for a message that asks for nothing that there is.
    """
    check(message)
    op = message["op"]
    if op not in ("add", "remove"):
        return None
    tasks = message["tasks"]
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
    """Return the times that a message, checked before, sets; none for most."""
    if message.get("op") != "time":
        return {}
    return {name: message[name] for name in TIMES if name in message}


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

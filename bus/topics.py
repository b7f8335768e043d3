"""Names of the bus: who says what on which topic. An agent may write only topics that end in its own device's name."""

from __future__ import annotations

ROOT = "mozart"
CONTROLLER = "controller"
"""The controller's user; devices' users are their names."""
OPERATOR = "operator"
"""The user of `mozart tasks` and of the live view."""


def config(device: str) -> str:
    """Retained: the device's `DeviceConfig`. Written by the controller."""
    return f"{ROOT}/config/{device}"


def status(device: str) -> str:
    """Retained, last will: whether the device's agent runs, and its revision; faults of the controller's and the run's.

    JSON. The run speaks as the operator.
    """
    return f"{ROOT}/status/{device}"


def report(device: str) -> str:
    """Epoch reports (messages.py: packed header and columns), QoS 1, spooled until acknowledged."""
    return f"{ROOT}/report/{device}"


def stats(device: str) -> str:
    """Once a second, QoS 0: rates, drops, selections, CPU and memory, for whoever looks on. JSON."""
    return f"{ROOT}/stats/{device}"


def select(to: str, sender: str) -> str:
    """Explicit selection messages and hints from one device's selector to another's monitor, QoS 1. JSON."""
    return f"{ROOT}/select/{to}/{sender}"


def request(sender: str) -> str:
    """What an operator asks of the controller: tasks to add, remove, list. JSON with an `id`."""
    return f"{ROOT}/request/{sender}"


def reply(to: str) -> str:
    """The controller's answers, JSON with the `id` of the request."""
    return f"{ROOT}/reply/{to}"


def device_of(topic: str) -> str:
    """Return the last part of a topic: the device or user that wrote it."""
    return topic.rsplit("/", 1)[-1]

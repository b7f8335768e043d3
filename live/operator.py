"""The operator of a running network: asks the controller, and sees what all devices say of themselves."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from ..bus import topics
from ..bus.access import BrokerAccess
from ..bus.client import BusClient
from ..errors import BusError, LiveError
from .waiting import until

ANSWER_S = 60.0
"""How long an answer may take: the controller may have to plan anew."""

LOOK_S, LOST_S = 0.5, 10.0
"""How often the connection is looked at while an answer is waited for; one that is lost so long is lost for good: a run
starts its broker again within a second or two."""


class Operator:
    """A connection to the bus as its operator; a context manager. Safe to read from any thread."""

    def __init__(self, access: BrokerAccess, answer_s: float = ANSWER_S) -> None:
        self.answer_s = answer_s
        self.status: dict[str, dict[str, Any]] = {}
        """What each device's agent, and the controller, last said of its state."""
        self.stats: dict[str, dict[str, Any]] = {}
        """What each agent last counted."""
        self._answers: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count()
        self._lost_s: float | None = None
        self._mine = f"{time.time_ns():x}"
        self._answered = threading.Condition()
        self._bus = BusClient(
            topics.OPERATOR,
            access,
            handlers={
                topics.status("+"): self._keep(self.status),
                topics.stats("+"): self._keep(self.stats),
                topics.reply(topics.OPERATOR): self._take_answer,
            },
            lasting=False,
        )

    def __enter__(self) -> Self:
        self._bus.start()
        self._bus.wait_connected(self.answer_s)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._bus.close()

    def tell(self, status: Mapping[str, Any]) -> None:
        """Publish, retained, what the run says of itself."""
        self._bus.publish(
            topics.status(topics.OPERATOR), json.dumps({**status, "time_ns": time.time_ns()}), retain=True
        )

    def ask(self, operation: str, deadline_s: float | None = None, **more: Any) -> dict[str, Any]:
        """Ask the controller and return its answer; without a deadline, within `answer_s`.

        Raises LiveError where it does not answer in time, or answers that it cannot, or ends meanwhile.
        """
        deadline_s = self.answer_s if deadline_s is None else deadline_s
        name = f"{self._mine}-{next(self._numbers)}"
        asked = {"version": 1, "id": name, "op": operation, **more}
        self._bus.publish(topics.request(topics.OPERATOR), json.dumps(asked))
        end_s = time.monotonic() + deadline_s
        with self._answered:
            while not self._answered.wait_for(lambda: name in self._answers or self._has_ended(), LOOK_S):
                if time.monotonic() > end_s:
                    raise LiveError(f"the controller has not answered {operation!r} within {deadline_s:g} s")
                if self._alone():
                    raise LiveError(f"the run has ended: its broker is gone, without an answer to {operation!r}")
            if name not in self._answers:
                raise LiveError(f"the run has ended: its controller stopped without an answer to {operation!r}")
            answer = self._answers.pop(name)
        if not answer.get("ok"):
            raise LiveError(f"the controller refuses {operation!r}: {answer.get('error')}")
        return answer

    def wait_for_agents(
        self, devices: list[str], revision: int, deadline_s: float, alive: Callable[[], object] | None = None
    ) -> None:
        """Wait until the agents of all devices run and have taken a revision of the plan; names those that have not."""

        def behind() -> list[str]:
            said = dict(self.status)
            return [
                device
                for device in devices
                if said.get(device, {}).get("state") != "running" or (said[device].get("revision") or -1) < revision
            ]

        def refused() -> str:
            found = [
                f"{device}: {said['refused']}"
                for device, said in dict(self.status).items()
                if said.get("refused") and (said.get("refused_revision") or -1) >= revision
            ]
            return "; ".join(found)

        def going_on() -> object:
            if text := refused():
                raise LiveError(f"agents refuse revision {revision} of the plan: {text}")
            return alive() if alive else None

        try:
            until(lambda: not behind(), "the agents", deadline_s, going_on)
        except LiveError:
            late = behind()
            if not late or refused():
                raise
            raise LiveError(
                f"after {deadline_s:g} s without revision {revision} of the plan: the agents of {', '.join(late)}"
            ) from None

    def _alone(self) -> bool:
        """Whether the connection to the broker has been lost for so long that the broker will not come back."""
        if self._bus.connected:
            self._lost_s = None
        elif self._lost_s is None:
            self._lost_s = time.monotonic()
        return self._lost_s is not None and time.monotonic() - self._lost_s > LOST_S

    def _has_ended(self) -> bool:
        """Whether the controller has said farewell; one that was killed has not, and comes back."""
        return self.status.get(topics.CONTROLLER, {}).get("state") == "stopped"

    def _keep(self, kept: dict[str, dict[str, Any]]) -> Callable[[str, bytes], None]:
        def take(topic: str, payload: bytes) -> None:
            said = _read(topic, payload)
            with self._answered:
                kept[topics.device_of(topic)] = said
                self._answered.notify_all()

        return take

    def _take_answer(self, topic: str, payload: bytes) -> None:
        answer = _read(topic, payload)
        with self._answered:
            self._answers[str(answer.get("id"))] = answer
            self._answered.notify_all()


def _read(topic: str, payload: bytes) -> dict[str, Any]:
    try:
        said = json.loads(payload)
    except ValueError:
        raise BusError(f"{topic}: not JSON") from None
    if not isinstance(said, dict):
        raise BusError(f"{topic}: not a JSON object")
    return said

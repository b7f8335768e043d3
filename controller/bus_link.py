"""The controller's connection to the bus, in a green thread.

The bus's own client (bus/client.py) runs paho's loop in a thread of the system; in Ryu's process threads and sockets
are patched to be green, so here one green thread drives paho, and yields where the socket waits. Publishing from others
is safe, because paho's own sockets do not block, so it does not yield with a lock in its hands.

A message is acknowledged when its handler is done with it:

1. What no handler can use is counted, told and acknowledged. Nothing that a handler raises ends the green thread.
2. What a handler cannot do now (OSError: the disk is full) is not acknowledged, and tried again every `RETRY_S`. At
   most `MOST_KEPT_BYTES` of such messages are in memory; the broker has all of them, and sends those that do not fit
   again with the next connection, which is made when the others are done.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import paho.mqtt.client as mqtt
from ryu.lib import hub

from ..bus.access import BrokerAccess
from ..errors import MozartError

Handler = Callable[[str, bytes], None]
"""Takes a topic and what was said; OSError says that it is to be tried again."""

WAIT_S = 1.0
"""How long the green thread waits for the socket at a time; publishing wakes it."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
RETRY_S = 1.0
MOST_KEPT_BYTES = 64 << 20
MOST_OUTGOING = 10_000
"""Messages, retained ones aside, that wait for the broker."""
MOST_OPEN = 1000
"""Messages that paho has and the broker has not acknowledged; paho has 65,535 numbers for them."""


class BusLink:
    """Publishes and subscribes; comes back by itself when the broker does."""

    def __init__(
        self,
        access: BrokerAccess,
        user: str,
        handlers: Mapping[str, Handler],
        will: tuple[str, bytes],
        logger: logging.Logger,
        complain: Callable[[str, str], None] | None = None,
    ) -> None:
        """Prepare; `handlers` are by topic filter, `will` is published, retained, when the connection is lost.

        `complain` is told of faults that somebody should mend: the kind (faults.py), and the text, or none when it is
        over.
        """
        self.access, self.handlers, self.logger = access, dict(handlers), logger
        self.complain = complain or (lambda kind, text: logger.error("%s: %s", kind, text or "over"))
        self.malformed = 0
        """Messages that no handler could use."""
        self.handler_errors = 0
        """Messages at which a handler failed in a way that it should not, and other errors in paho's callbacks."""
        self.lost = 0
        """Messages that there was no room for."""
        self.postponed = 0
        """Times that a message had to wait for the disk."""
        self.connected = False
        self._outgoing: deque[tuple[str, bytes, int, bool]] = deque()
        self._open: set[int] = set()
        self._retained: dict[str, bytes] = {}
        """Said again with every connection: a broker that was killed may have lost what it had not written down."""
        self._kept: deque[mqtt.MQTTMessage] = deque()
        """Messages that wait for the disk, oldest first."""
        self._kept_bytes = 0
        self._more_at_broker = False
        """The broker has messages, not acknowledged, that there was no room for in memory."""
        self._retry_at = 0.0
        self._said = ""
        self._disk_said: str | None = None
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=user, clean_session=False, manual_ack=True
        )  # fmt: skip
        client.username_pw_set(user, access.password(user))
        client.will_set(will[0], will[1], qos=1, retain=True)
        client.on_connect, client.on_disconnect = (
            self._contained(self._on_connect),
            self._contained(self._on_disconnect),
        )
        client.on_message, client.on_publish = self._contained(self._on), self._contained(self._on_publish)
        client.on_subscribe = self._contained(self._on_subscribe)
        self._client = client

    def _contained(self, callback: Callable[..., None]) -> Callable[..., None]:
        """Return a callback that raises nothing: after an error in one, paho would be connected and deaf."""

        def contained(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception:
                self.handler_errors += 1
                self.logger.exception("an error in the connection to the bus")

        return contained

    def publish(self, topic: str, payload: str | bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Queue a message; it is sent when the broker is there."""
        content = payload.encode() if isinstance(payload, str) else payload
        if retain:
            self._retained[topic] = content
            if not self.connected:
                return  # it is said with the next connection
        elif len(self._outgoing) >= MOST_OUTGOING:
            self._lose(f"more than {MOST_OUTGOING} messages wait for the broker")
            return
        self._outgoing.append((topic, content, qos, retain))
        self._send()

    def run(self) -> None:
        """Keep the connection, for ever; to be spawned."""
        pause_s, access = FIRST_PAUSE_S, self.access
        while True:
            try:
                self._client.connect(access.host, access.port, access.keepalive_s)
                while self._client.loop(WAIT_S) == mqtt.MQTT_ERR_SUCCESS:
                    if self.connected:
                        pause_s = FIRST_PAUSE_S
                    self._retry()
            except OSError as error:
                if pause_s == FIRST_PAUSE_S:
                    self.logger.warning("no broker at %s:%d (%s); trying again", access.host, access.port, error)
            except Exception:  # whatever it is, the controller must go on hearing
                self.handler_errors += 1
                self.logger.exception("an error in the connection to the bus; connecting again")
            self.connected = False
            hub.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def close(self, topic: str, payload: str) -> None:
        """Say a last thing, retained, and end the connection, so that the will is not published."""
        if self.connected:
            self._client.publish(topic, payload, qos=0, retain=True)
            self._client.disconnect()

    def _send(self) -> None:
        """Give paho what waits, as far as it has room."""
        while self.connected and self._outgoing and len(self._open) < MOST_OPEN:
            topic, payload, qos, retain = self._outgoing[0]
            info = self._client.publish(topic, payload, qos, retain)
            if info.rc == mqtt.MQTT_ERR_QUEUE_SIZE:  # a number of long ago is still in use; the next one may not be
                return
            self._outgoing.popleft()
            if qos:
                self._open.add(info.mid)
            elif info.rc != mqtt.MQTT_ERR_SUCCESS:
                self._lose(f"a message on {topic} was said without a connection")

    def _lose(self, why: str) -> None:
        self.lost += 1
        if why != self._said:
            self.complain("message-lost", f"the bus lost a message: {why}")
        self._said = why

    def _on_publish(self, client: mqtt.Client, data: Any, mid: int, reason: Any, properties: Any) -> None:
        self._open.discard(mid)
        self._send()

    def _on_connect(self, client: mqtt.Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self.logger.error(
                "the broker at %s:%d refuses the controller: %s", self.access.host, self.access.port, reason
            )
            return
        self.connected = True
        self._kept.clear()  # the broker sends again what is not acknowledged
        self._kept_bytes, self._more_at_broker = 0, False
        for topic in self.handlers:
            client.subscribe(topic, qos=1)
        self._outgoing = deque(each for each in self._outgoing if each[0] not in self._retained)
        self._outgoing.extend((topic, content, 1, True) for topic, content in self._retained.items())
        self._send()

    def _on_subscribe(self, client: mqtt.Client, data: Any, mid: int, reasons: Any, properties: Any) -> None:
        for reason in reasons:
            if reason.is_failure:
                self.logger.error("the broker refuses the controller a subscription: %s", reason)

    def _on_disconnect(self, client: mqtt.Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self.connected:
            self.logger.warning("the connection to the broker has ended: %s", reason)
        self.connected = False

    def _on(self, client: mqtt.Client, data: Any, message: mqtt.MQTTMessage) -> None:
        if self._handle(message):
            client.ack(message.mid, message.qos)
        else:
            self._keep(message)

    def _handle(self, message: mqtt.MQTTMessage) -> bool:
        """Have a message handled; return whether it is done with (rule 1), or to be tried again (rule 2)."""
        for topic, handler in self.handlers.items():
            if not mqtt.topic_matches_sub(topic, message.topic):
                continue
            try:
                handler(message.topic, bytes(message.payload))
            except MozartError as error:
                self.malformed += 1
                self.logger.warning("a message on %s is of no use: %s", message.topic, error)
            except OSError as error:
                self.postponed += 1
                if error.strerror != self._disk_said:
                    where = error.filename or message.topic
                    self.complain("disk-full", f"cannot write {where}: {error.strerror}; trying again")
                self._disk_said = error.strerror
                return False
            except Exception:
                self.handler_errors += 1
                self.logger.exception("a message on %s could not be handled", message.topic)
        return True

    def _keep(self, message: mqtt.MQTTMessage) -> None:
        """Keep a message to be tried again, or leave it to the broker (rule 2)."""
        if self._kept_bytes + len(message.payload) > MOST_KEPT_BYTES:
            self._more_at_broker = True
            return
        if not self._kept:
            self._retry_at = time.monotonic() + RETRY_S
        self._kept.append(message)
        self._kept_bytes += len(message.payload)

    def _retry(self) -> None:
        """Try again what waits for the disk; when all of it is done, ask the broker for the rest."""
        if not self._kept or time.monotonic() < self._retry_at:
            return
        while self._kept:
            if not self._handle(self._kept[0]):
                self._retry_at = time.monotonic() + RETRY_S
                return
            message = self._kept.popleft()
            self._kept_bytes -= len(message.payload)
            self._client.ack(message.mid, message.qos)
        self._disk_said = None
        self.complain("disk-full", "")
        if self._more_at_broker:
            self._client.disconnect()  # and the loop connects again

"""The controller's connection to the bus, in a green thread.

The bus's own client (bus/client.py) runs paho's loop in a thread of the system; in Ryu's process threads and sockets
are patched to be green, so here one green thread drives paho, and yields where the socket waits. Publishing from others
is safe, because paho's own sockets do not block, so it does not yield with a lock in its hands.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import paho.mqtt.client as mqtt
from ryu.lib import hub

from ..bus.access import BrokerAccess
from ..errors import MozartError

Handler = Callable[[str, bytes], None]
"""Takes a topic and what was said; the message is acknowledged when it returns or raises a MozartError."""

WAIT_S = 1.0
"""How long the green thread waits for the socket at a time; publishing wakes it."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0


class BusLink:
    """Publishes and subscribes; comes back by itself when the broker does."""

    def __init__(
        self,
        access: BrokerAccess,
        user: str,
        handlers: Mapping[str, Handler],
        will: tuple[str, bytes],
        logger: logging.Logger,
    ) -> None:
        """Prepare; `handlers` are by topic filter, `will` is published, retained, when the connection is lost."""
        self.access, self.handlers, self.logger = access, dict(handlers), logger
        self.malformed = 0
        """Messages that no handler could use."""
        self.connected = False
        self._outgoing: deque[tuple[str, bytes, int, bool]] = deque()
        self._retained: dict[str, bytes] = {}
        """Said again with every connection: a broker that was killed may have lost what it had not written down."""
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=user, clean_session=False, manual_ack=True
        )  # fmt: skip
        client.username_pw_set(user, access.password(user))
        client.will_set(will[0], will[1], qos=1, retain=True)
        client.on_connect, client.on_disconnect, client.on_message = self._on_connect, self._on_disconnect, self._on
        client.on_subscribe = self._on_subscribe
        self._client = client

    def publish(self, topic: str, payload: str | bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Queue a message; it is sent when the broker is there."""
        content = payload.encode() if isinstance(payload, str) else payload
        if retain:
            self._retained[topic] = content
        self._outgoing.append((topic, content, qos, retain))
        if self.connected:
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
            except OSError as error:
                if pause_s == FIRST_PAUSE_S:
                    self.logger.warning("no broker at %s:%d (%s); trying again", access.host, access.port, error)
            self.connected = False
            hub.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def close(self, topic: str, payload: str) -> None:
        """Say a last thing, retained, and end the connection, so that the will is not published."""
        if self.connected:
            self._client.publish(topic, payload, qos=0, retain=True)
            self._client.disconnect()

    def _send(self) -> None:
        while self._outgoing:
            topic, payload, qos, retain = self._outgoing.popleft()
            self._client.publish(topic, payload, qos, retain)

    def _on_connect(self, client: mqtt.Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self.logger.error(
                "the broker at %s:%d refuses the controller: %s", self.access.host, self.access.port, reason
            )
            return
        self.connected = True
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
        for topic, handler in self.handlers.items():
            if mqtt.topic_matches_sub(topic, message.topic):
                try:
                    handler(message.topic, bytes(message.payload))
                except MozartError as error:
                    self.malformed += 1
                    self.logger.warning("a message on %s is of no use: %s", message.topic, error)
        client.ack(message.mid, message.qos)

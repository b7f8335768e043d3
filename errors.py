"""The family of errors that mozart raises on purpose.

A message says what is wrong, where, and what to do about it. The command line prints it and ends with
`exit_code`: 2 for bad usage or bad input, 1 for a run that failed.
"""

from __future__ import annotations


class MozartError(Exception):
    """Anything that mozart refuses or fails to do, with a message for the user."""

    exit_code = 1


class SpecError(MozartError):
    """A task file, an option or an argument that is not valid."""

    exit_code = 2


class TraceError(MozartError):
    """A trace that cannot be read, or not to its end."""

    exit_code = 2


class TopologyError(MozartError):
    """A topology that does not exist, is not connected, or does not have what was asked of it."""

    exit_code = 2


class PlacementError(MozartError):
    """A placement problem that is not well formed."""

    exit_code = 2


class RefusedError(MozartError):
    """A run that would measure nothing: the task file is valid, and its network has room for none of its tasks."""


class OutputError(MozartError):
    """Results that cannot be written where they were to go, though that place was looked at before the work."""


class BusError(MozartError):
    """A message or a configuration that is not well formed, or a broker that refuses."""


class LiveError(MozartError):
    """Something that a live run needs and does not have, or that failed in it."""

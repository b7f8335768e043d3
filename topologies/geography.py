"""Latency of a link from where its ends lie on the globe."""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt

EARTH_RADIUS_KM = 6371.0
FIBRE_KM_PER_MS = 200.0
"""Light in fibre: about two thirds of its speed in vacuum."""

PATH_STRETCH = 1.3
"""How much longer than the great circle a cable is: an assumption, as cables follow coasts and roads."""


def great_circle_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the distance between two (longitude, latitude) in degrees, by the haversine formula."""
    (lon_a, lat_a), (lon_b, lat_b) = ((radians(x), radians(y)) for x, y in (a, b))
    half = sin((lat_b - lat_a) / 2) ** 2 + cos(lat_a) * cos(lat_b) * sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(half)))


def fibre_latency_ms(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the one-way latency of a cable between two (longitude, latitude), in ms, rounded to 0.01 ms."""
    return cable_latency_ms(great_circle_km(a, b))


def cable_latency_ms(distance_km: float) -> float:
    """Return the one-way latency of a cable over a distance as the crow flies, in ms, rounded to 0.01 ms."""
    return round(distance_km * PATH_STRETCH / FIBRE_KM_PER_MS, 2)

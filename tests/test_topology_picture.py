"""Topologies for the eye: tables, and pictures whose words hide nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from mozart.errors import OutputError, TopologyError
from mozart.topologies.catalogue import load
from mozart.topologies.describe import describe, summary
from mozart.topologies.labels import Clutter
from mozart.topologies.layout import switch_places
from mozart.topologies.picture import HEIGHT, picture
from mozart.topologies.topology import Link, Topology

SIGNATURES = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


def test_a_table_has_a_row_for_each_link_between_switches() -> None:
    rows = describe(load("b4"))
    assert len(rows) == 19
    assert rows[0] == {
        "link": "s1-s2",
        "from": "Changhua, Taiwan",
        "to": "Singapore",
        "latency_ms": 20.2,
        "rate_mbps": 1000.0,
    }


def test_a_summary_tells_what_one_can_count_by_hand() -> None:
    line = summary(load("line,n=3,latency_ms=2"))
    assert (line["hosts"], line["switches"], line["links"]) == (3, 3, 2)
    assert (line["mean_hops"], line["most_hops"]) == (pytest.approx(4 / 3), 2)
    assert (line["mean_latency_ms"], line["most_latency_ms"]) == (pytest.approx(8 / 3 + 0.1), 4.1)
    assert line["pairs_with_several_paths"] == 0.0
    assert summary(load("leaf-spine,leaves=2,spines=2,hosts=1"))["pairs_with_several_paths"] == 1.0
    assert summary(load("line,n=1"))["most_hops"] == 0


@pytest.mark.parametrize("kind", SIGNATURES)
def test_a_picture_is_written_the_same_each_time(kind: str, tmp_path: Path) -> None:
    first = picture(load("b4"), tmp_path / f"first{kind}")
    second = picture(load("b4"), tmp_path / f"second{kind}")
    assert first.read_bytes().startswith(SIGNATURES[kind])
    assert first.read_bytes() == second.read_bytes()


def test_loads_change_the_picture_and_have_a_direction(tmp_path: Path) -> None:
    b4 = load("b4")
    plain = picture(b4, tmp_path / "plain.png").read_bytes()
    loaded = picture(b4, tmp_path / "a.png", {"s3>s6": 400.0}).read_bytes()
    assert plain != loaded
    assert picture(b4, tmp_path / "b.png", {"s6>s3": 400.0}).read_bytes() != loaded
    picture(b4, tmp_path / "idle.png", {})
    with pytest.raises(TopologyError, match="no link s3-s12"):
        picture(b4, tmp_path / "c.png", {"s3>s12": 1.0})


def test_a_picture_of_another_kind_or_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match=r"ends in \.png, \.pdf, \.svg"):
        picture(load("b4"), tmp_path / "b4.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="the picture cannot be written"):
        picture(load("b4"), tmp_path / "file" / "b4.png")


@pytest.mark.parametrize("text", ["b4", "fattree,k=4", "line,n=5", "line,n=1"])
def test_no_switch_is_drawn_over_another(text: str) -> None:
    places = switch_places(load(text), HEIGHT)
    distance = np.sqrt(((places[:, None] - places[None]) ** 2).sum(axis=2))
    np.fill_diagonal(distance, np.inf)
    assert distance.min() > 0.075


def test_a_topology_without_positions_is_laid_out_too(tmp_path: Path) -> None:
    links = [
        Link("s1", "s2", 1.0, 1.0),
        Link("s2", "s3", 2.0, 1.0),
        Link("s3", "s1", 3.0, 1.0),
        Link("h1", "s1", 0.0, 1.0),
    ]
    topology = Topology("ring", ("h1",), ("s1", "s2", "s3"), tuple(links))
    assert picture(topology, tmp_path / "ring.png").stat().st_size > 1000
    assert len(np.unique(switch_places(topology, HEIGHT).round(3), axis=0)) == 3


def test_names_of_sites_are_words_and_not_mathematics(tmp_path: Path) -> None:
    sites = {"s1": r"A $\foo_{$ B", "s2": "$x_1$"}
    links = Link("s1", "s2", 1.0, 1.0), Link("h1", "s1", 0.0, 1.0)
    topology = Topology("two", ("h1",), ("s1", "s2"), links, sites=sites)
    assert picture(topology, tmp_path / "two.png").stat().st_size > 1000


def test_small_loads_have_numbers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    picture(load("b4"), tmp_path / "b4.png", {"s3>s6": 2.0})
    drawn[0].canvas.draw()
    *_, bar = drawn[0].axes
    assert len({text.get_text() for text in bar.get_xticklabels()} - {""}) >= 3


def test_words_go_where_they_hide_least() -> None:
    clutter = Clutter(0.0, 1.0)
    clutter.add_line(np.array([0.0, 0.5]), np.array([1.0, 0.5]), 1.0)
    on_it, beside_it, outside = np.array([0.5, 0.5]), np.array([0.5, 0.6]), np.array([1.0, 0.9])
    assert clutter.best_place([outside, on_it, beside_it], (0.1, 0.02)) is beside_it
    assert clutter.best_place([beside_it, on_it, np.array([0.5, 0.7])], (0.1, 0.02))[1] == 0.7

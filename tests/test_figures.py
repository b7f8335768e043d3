"""Figures say what they are of and of how many, hide no curve, and have no error bar beyond what can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from mozart.live import figures as live_figures
from mozart.placement import figures as placement_figures
from mozart.replay import figures
from mozart.topologies.catalogue import load
from mozart.topologies.picture import picture, round_up, told_load
from mozart.traces.figures import few, interval


def rows(selected: int = 40, unreachable: int = 0, **ratios: list[float]) -> list[dict[str, Any]]:
    return [
        {
            "task": "lossy", "mode": mode, "memory_entries": 64 * 4**at, "detection_delay_ms": 0.0,
            "selected_flows": selected, "unreachable_flows": unreachable, "not_captured_ratio": ratio,
            "floor_ratio": 0.0, "pre_event_bytes": 1000, "pre_event_captured_bytes": int(1000 * ratio),
            "report_bytes": 100,
        }
        for mode, many in ratios.items()
        for at, ratio in enumerate(many)
    ]  # fmt: skip


def title(figure: Any) -> str:
    return " ".join(figure.get_suptitle().split())


def test_a_figure_says_which_task_and_how_many_flows() -> None:
    for draw in (figures.capture, lambda some: figures.past(some, "memory_entries"), figures.reports):
        many, some = draw(rows(selected=40, none=[1, 0.5], tag=[0.5, 0])), draw(rows(5, 1, none=[1, 0.5]))
        assert title(many) == "lossy: 40 flows selected, 40 reachable" + (
            " equal, drawn side by side: none, tag" if draw is figures.reports else ""
        )
        assert title(some).startswith("lossy: 5 flows selected, 4 reachable only 4 reachable flows: ")
    assert "each is 25 %" in title(figures.capture(rows(5, 1, none=[1, 0.5])))
    assert "each is" not in title(figures.reports(rows(5, 1, none=[1, 0.5])))


def test_curves_that_are_equal_stand_side_by_side_and_are_named() -> None:
    figure = figures.capture(rows(tag=[1, 0], mozart=[1, 0], recent=[0.5, 0]))
    assert title(figure).endswith("equal, drawn side by side: tag, mozart")
    figure.canvas.draw()
    (axes,) = figure.axes
    marked = [line for line in axes.lines if line.get_linestyle() == "None" and len(line.get_xdata())]
    assert len(marked) == 3
    at = [line.get_transform().transform(np.column_stack([line.get_xdata(), line.get_ydata()])) for line in marked]
    last = sorted(points[-1][0] for points in at)  # all three are 0 there
    assert np.diff(last).min() > 4  # pixels
    assert {tuple(line.get_ydata()) for line in marked} == {(1, 0), (0.5, 0)}


def test_few_of_anything_is_said() -> None:
    assert few(30, "flow") == few(0, "flow") == ""
    assert few(1, "flow", each=True) == "only 1 flow"
    assert few(8, "flow", each=True) == "only 8 flows: each is 12.5 %"


def test_error_bars_end_at_what_can_be() -> None:
    assert interval(0.97, 0.1, most=1.0) == (0.1, pytest.approx(0.03))
    assert interval(5.0, 20.0) == (5.0, 20.0)
    row = {
        "topology": "b4", "load": 0.9, "tasks": 50, "algorithm": "greedy", "max_latency_ms": None, "repeats": 3,
        "placed_share": 0.97, "placed_share_95": 0.1, "avg_latency_ms": 5.0, "avg_latency_ms_95": 20.0,
        "gap": 0.99, "gap_95": 0.5, "seconds": 0.1, "seconds_95": None,
    }  # fmt: skip
    figure = placement_figures.table([row])
    assert title(figure).startswith("50 tasks on b4, load 0.9: means of 3 problems, with 95 % intervals; few")
    shares, latencies = figure.axes
    assert _ends(shares) == (pytest.approx(87.0), pytest.approx(100.0))
    assert _ends(latencies) == (0.0, 25.0)
    _, gaps = placement_figures.scaling([row, {**row, "tasks": 100}]).axes
    assert _ends(gaps) == (pytest.approx(49.0), pytest.approx(100.0))
    assert "there is no interval" in title(placement_figures.table([{**row, "repeats": 1, "placed_share_95": None}]))


def _ends(axes: Any) -> tuple[float, float]:
    """The lowest and highest point of all error bars."""
    y = np.concatenate([p[:, 1] for c in axes.collections for p in c.get_segments()])
    return float(y.min()), float(y.max())


def test_a_network_shows_each_direction_with_its_value_and_a_scale_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    line = load("line,n=3,rate_mbps=100")
    picture(line, tmp_path / "line.png", {"s1>s2": 37.0, "s2>s1": 2.5, "s2>s3": 0.04}, "1,000 packets in 4.0 s")
    (figure,) = drawn
    figure.canvas.draw()
    axes, bar = figure.axes
    words = {text.get_text() for text in axes.texts}
    assert {"37", "2.5", "0.04", "0"} <= words
    assert any(text.startswith("1,000 packets in 4.0 s; numbers: Mbit/s") for text in words)
    ticks = [text.get_text() for text in bar.get_xticklabels()]
    assert ticks == ["0 %", "10 %", "20 %", "30 %", "40 %"]
    arrows = [patch for patch in (getattr(text, "arrow_patch", None) for text in axes.texts) if patch is not None]
    assert len(arrows) == 4
    assert len({arrow.get_edgecolor() for arrow in arrows}) == 3  # that of 0.04 Mbit/s is nearly idle


def test_scales_and_loads_are_round() -> None:
    assert [round_up(value) for value in (0.0003, 0.004, 0.041, 0.37, 1.0, 1.3)] == [
        pytest.approx(each) for each in (0.0004, 0.004, 0.05, 0.4, 1.0, 2.0)
    ]
    assert [told_load(value) for value in (0.0, 0.0123, 2.55, 12.4, 1234.0)] == ["0", "0.01", "2.5", "12", "1,234"]


def test_a_live_figure_says_how_many_flows_and_where_there_is_no_value() -> None:
    live = [
        {**rows(356, 0, recent=[0.1])[0], "task": "lossy"},
        {**rows(4, 0, recent=[0.0])[0], "task": "scanners"},
    ]
    replayed = [{"task": "lossy", "not_captured_ratio": None}]
    figure = live_figures.beside(live, replayed, [])
    assert title(figure) == "mode recent; in brackets: reachable flows, live scanners: only 4 flows: each is 25 %"
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["lossy\n(356 flows)", "scanners\n(4 flows)"]
    assert [text.get_text() for text in axes.texts] == ["10.0 %", "0.0 %", "no value", "no value"]
    assert title(live_figures.tag_times([1.0, 2.0], [])) == "selections of all tasks only 2 selections: each is 50 %"


def test_parallel_links_are_drawn_together(tmp_path: Path) -> None:
    from mozart.topologies.topology import Link, Topology

    links = (Link("s1", "s2", 1.0, 10.0), Link("s1", "s2", 1.0, 10.0, 2), Link("h1", "s1", 0.0, 1.0))
    topology = Topology("two", ("h1",), ("s1", "s2"), links)
    assert picture(topology, tmp_path / "two.png", {"s1>s2": 1.0, "s1>s2.2": 2.0}).stat().st_size > 1000

"""What a placement says of itself: status, explanation, moves, comparison; and that the checker sees every breach."""

from __future__ import annotations

import json
import math

import pytest
from mozart.commands import place as command
from mozart.errors import PlacementError
from mozart.placement.algorithms import ALGORITHMS, place
from mozart.placement.comparison import compare, mean_and_half_width, summary
from mozart.placement.explain import explain
from mozart.placement.generated import generate
from mozart.placement.keep import load_kept
from mozart.placement.problem import Device, Module, Problem, Task
from mozart.placement.verify import violations
from mozart.topologies.catalogue import load

LATENCY = [[0.0, 10.0, 50.0], [10.0, 0.0, 40.0], [50.0, 40.0, 0.0]]


def task(name, entries=10.0, bound=math.inf, monitors=("s1", "s2"), weight=1.0):
    return Task(
        name,
        (
            Module("sel", "selector", 0.0, 1.0, ("h1",)),
            Module("mon", "monitor", entries, 0.0, tuple(monitors)),
        ),
        weight,
        bound,
    )


def world(*tasks, cpu=10.0, entries=10.0):
    """h1, then s1 10 ms and s2 50 ms away, each with room for one monitor."""
    devices = (Device("h1", 0.0, cpu), Device("s1", entries, 0.0), Device("s2", entries, 0.0))
    return Problem(devices, np_latency(), tuple(tasks))


def np_latency():
    import numpy as np

    return np.array(LATENCY)


BREACHES = [
    ({"a": {"sel": "h1", "mon": "s1"}, "b": {"sel": "h1", "mon": "s1"}}, "20.0 entries used of 10.0"),
    ({"a": {"sel": "h1"}}, "runs without its module mon"),
    ({"a": {"sel": "s1", "mon": "s1"}}, "s1 is no candidate of module sel"),
    ({"near": {"sel": "h1", "mon": "s2"}}, "50.0 ms apart"),
    ({"ghost": {"sel": "h1", "mon": "s1"}}, "task ghost is placed but is not in the problem"),
]


@pytest.mark.parametrize(("tasks", "message"), BREACHES)
def test_the_checker_sees_every_kind_of_breach(tasks, message):
    problem = world(task("a"), task("b"), task("near", bound=20.0))
    assert any(message in line for line in violations(problem, tasks, {}))


def test_a_sound_placement_has_no_violations():
    problem = world(task("a"), task("near", bound=20.0))
    sound = {"a": {"sel": "h1", "mon": "s2"}, "near": {"sel": "h1", "mon": "s1"}}
    assert not list(violations(problem, sound, {}))


def test_mam_keeps_modules_of_tasks_that_do_not_run():
    problem = world(task("a"), task("b"), task("c", entries=99.0))
    found = place(problem, "mam")
    assert set(found.tasks) == {"a", "b"}
    assert found.partial == {"c": {"sel": "h1"}}
    assert found.placed_modules == 5


@pytest.mark.parametrize("algorithm", ["priced", "bilp"])
def test_nothing_can_be_placed(algorithm):
    found = place(world(task("a", entries=11.0)), algorithm)
    assert (found.status, found.tasks, found.gap) == ("infeasible-nothing-placed", {}, 0.0)


def test_no_time_gives_what_greedy_has_and_says_so():
    b4 = load("b4")
    problem = generate(b4.hosts, b4.switches, b4.latency_ms, tasks=60, seed=1)
    found = place(problem, "bilp", time_limit_s=1e-6)
    assert found.status == "feasible"
    assert found.value == place(problem, "greedy").value


def test_ctrl_c_returns_the_best_so_far(monkeypatch):
    from mozart.placement import bilp

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(bilp, "solve", interrupted)
    found = place(world(task("a"), task("b")), "bilp")
    assert found.interrupted
    assert found.status == "feasible"
    assert len(found.tasks) == 2


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name not in ("mam", "bilp")])
def test_the_same_seed_gives_the_same_placement(algorithm):
    b4 = load("b4")
    problem = generate(b4.hosts, b4.switches, b4.latency_ms, tasks=12, seed=2)
    assert place(problem, algorithm, seed=5).tasks == place(problem, algorithm, seed=5).tasks


def test_an_unknown_algorithm_or_solver_is_named():
    with pytest.raises(PlacementError, match="no algorithm 'magic'; there are priced, tasks-only, bilp"):
        place(world(), "magic")
    with pytest.raises(PlacementError, match="no solver 'abacus'; there are highs, cbc"):
        place(world(task("a")), "bilp", solver="abacus")


EXPLAINED = [
    (task("x", bound=5.0), "latency: no candidates are within 5 ms", "a latency bound of 10 ms"),
    (task("x", entries=25.0), "capacity: memory of s", "15 more entries of memory on s"),
    (task("x", monitors=()), "module mon has no candidate device", ""),
    (task("x", entries=1.0), "runs\n  sel on h1", ""),
]


@pytest.mark.parametrize(("asked", "constraint", "relaxation"), EXPLAINED)
def test_explain_names_the_constraint_and_the_cheapest_relaxation(asked, constraint, relaxation):
    problem = world(asked)
    text = str(explain(problem, place(problem, "bilp"), "x"))
    assert constraint in text
    assert relaxation in text


def test_explain_needs_latency_and_room_together_where_one_is_not_enough():
    problem = world(task("x", bound=5.0, entries=25.0))
    text = str(explain(problem, place(problem, "bilp"), "x"))
    assert "latency: no candidates are within 5 ms" in text
    assert "a latency bound of 10 ms and 15 more entries of memory on s" in text


def test_explain_counts_what_the_others_use():
    problem = world(task("big", weight=5.0), task("bigger", weight=5.0), task("x", entries=4.0))
    text = str(explain(problem, place(problem, "bilp"), "x"))
    assert "4 more entries of memory on s" in text


@pytest.mark.parametrize("algorithm", ["priced", "bilp"])
def test_keep_moves_nothing_when_a_task_fits_beside(algorithm):
    kept = {"a": {"sel": "h1", "mon": "s2"}}
    found = place(world(task("a"), task("b")), algorithm, keep=kept)
    assert found.tasks["a"] == kept["a"]
    assert set(found.tasks) == {"a", "b"}
    assert (found.moves, found.moves_proved) == ((), True)


@pytest.mark.parametrize("algorithm", ["priced", "bilp"])
def test_keep_moves_one_module_to_let_another_task_in(algorithm):
    kept = {"a": {"sel": "h1", "mon": "s1"}}
    found = place(world(task("a"), task("b", monitors=("s1",))), algorithm, keep=kept)
    assert [(m.task, m.module, m.source, m.to) for m in found.moves] == [("a", "mon", "s1", "s2")]


@pytest.mark.parametrize("algorithm", ["priced", "bilp"])
def test_a_move_that_costs_more_than_the_task_is_not_made(algorithm):
    kept = {"a": {"sel": "h1", "mon": "s1"}}
    problem = world(task("a"), task("b", monitors=("s1",)))
    found = place(problem, algorithm, keep=kept, move_price=1.5)
    assert (found.moves, set(found.tasks)) == ((), {"a"})


@pytest.mark.parametrize("algorithm", ["priced", "bilp"])
def test_a_lost_device_moves_only_what_ran_there(algorithm):
    kept = {"a": {"sel": "h1", "mon": "s1"}, "b": {"sel": "h1", "mon": "s2"}}
    problem = world(task("a"), task("b"), entries=20.0).without_device("s1")
    found = place(problem, algorithm, keep=kept)
    assert [(m.task, m.module, m.source, m.to) for m in found.moves] == [("a", "mon", "s1", "s2")]


def test_comparison_has_both_readings_of_the_percentage():
    problem = world(task("a"), task("b"), task("c"))
    runs = compare([problem], ["bilp"], [math.inf, 20.0])
    free, near = summary(runs)
    assert (free["placed_share"], free["relative_share"]) == (pytest.approx(2 / 3), 1.0)
    assert (near["placed_share"], near["relative_share"]) == (pytest.approx(1 / 3), 0.5)
    assert near["avg_latency_ms"] == 10.0


def test_intervals_are_students():
    assert mean_and_half_width([]) == (None, None)
    assert mean_and_half_width([3.0]) == (3.0, None)
    mean, half = mean_and_half_width([1.0, 2.0, 3.0])
    assert (mean, half) == (2.0, pytest.approx(4.303 / math.sqrt(3), rel=1e-3))


def run_command(*arguments):
    import argparse

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def test_the_command_writes_the_documented_json(capsys, tmp_path):
    assert run_command("--generate", "tasks=6,seed=2", "--algorithm", "greedy,bilp", "--latency", "inf", "--json") == 0
    written = json.loads(capsys.readouterr().out)
    assert list(written["rows"][0]) == [
        "algorithm", "max_latency_ms", "tasks", "placed_tasks", "placed_share", "placed_modules", "avg_latency_ms",
        "status", "proved", "stopped_by", "bound", "gap", "build_s", "solve_s", "moved_modules",
    ]  # fmt: skip
    assert written["rows"][0]["max_latency_ms"] is None
    path = tmp_path / "kept.json"
    path.write_text(json.dumps(written))
    assert load_kept(path) == written["placement"]
    assert run_command("--generate", "tasks=6,seed=2", "--keep", str(path), "--plot", str(tmp_path)) == 0
    assert "0 modules move" in capsys.readouterr().out
    assert (tmp_path / "placement_table.png").exists()


@pytest.mark.parametrize("algorithm", ["greedy", "random", "mam-greedy", "priced", "bilp"])
def test_where_no_task_can_run_every_algorithm_says_that_it_is_proved(algorithm):
    found = place(world(task("x", bound=5.0)), algorithm)
    assert (found.status, found.proved) == ("infeasible-nothing-placed", True)


def test_nothing_found_without_a_proof_is_no_time_out(monkeypatch):
    monkeypatch.setattr("mozart.placement.greedy.greedy", lambda search: None)
    assert place(world(task("x")), "greedy").status == "nothing-found"
    assert place(world(task("x")), "bilp", time_limit_s=1e-9).status in ("timed-out", "feasible")


@pytest.mark.parametrize("algorithm", ["priced", "bilp"])
@pytest.mark.parametrize("weights", [(1.0, 1e-6), (1e6, 1e-6), (3e-7, 2e-7), (1e-6, 1e-6)])
def test_tiny_weights_count(algorithm, weights):
    found = place(world(*(task(f"t{i}", weight=w, entries=1.0) for i, w in enumerate(weights))), algorithm)
    assert len(found.tasks) == 2
    assert found.status == "optimal"
    assert found.value == pytest.approx(sum(weights), rel=1e-12)
    assert found.bound == pytest.approx(sum(weights), rel=1e-9)

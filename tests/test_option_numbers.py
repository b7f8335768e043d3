"""Numbers that are none: NaN and infinity are refused in every option of every command and in every declared value."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import pytest
from mozart.cli import COMMANDS, Command, Group, main
from mozart.fields import Field

WRONG = ("nan", "inf", "-inf", "1e999")


def commands() -> Iterator[tuple[list[str], argparse.ArgumentParser]]:
    """Yield the words of each command, and a parser that has its arguments."""
    import importlib

    for name, command in COMMANDS.items():
        listed = command.commands.items() if isinstance(command, Group) else [("", command)]
        for second, each in listed:
            assert isinstance(each, Command)
            parser = argparse.ArgumentParser()
            importlib.import_module(each.module, "mozart").add_arguments(parser)
            yield [name, second] if second else [name], parser


OPTIONS = {
    ("live", "x.yaml"): ("--duration", "--speed", "--rate", "--patience"),
    ("place", "x.yaml"): ("--time-limit", "--move-price"),
    ("replay", "x.yaml"): ("--duration", "--probability", "--detection-delay-ms"),
    ("trace", "slice", "x.pcap", "y.pcap"): ("--start", "--end", "--stretch"),
    ("trace", "synth", "y.pcap"): ("--duration-s", "--packets-per-s", "--ipv6-share", "--scan-s", "--elephant-mbps"),
}


def test_no_option_takes_pythons_own_numbers() -> None:
    """Their words are argparse's, one at a time, and its float takes NaN: options are read by fields (options.py)."""
    assert not [(words, a.dest) for words, parser in commands() for a in parser._actions if a.type in (int, float)]


@pytest.mark.parametrize(("words", "option"), [(words, option) for words, some in OPTIONS.items() for option in some])
def test_no_option_takes_what_is_not_finite(
    words: tuple[str, ...], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in WRONG:
        assert main([*words, f"{option}={value}"]) == 2
        assert f"{option} must be a number" in capsys.readouterr().err


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", [int, float, list[int], list[float]])
def test_no_declared_number_may_be_other_than_finite(kind: type, value: float) -> None:
    for given in (value, str(value), [1, value]):
        with pytest.raises(ValueError, match="must be"):
            Field(kind).check(given)


@pytest.mark.parametrize("value", WRONG)
def test_options_of_several_numbers_refuse_it_too(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    if value != "inf":  # no bound
        assert main(["place", "--generate", "tasks=3", "--latency", f"10,{value}"]) == 2
    assert main(["place", "--generate", f"tasks=3,load={value}"]) == 2
    assert main(["topology", f"line,latency_ms={value}"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_list_of_many_values_is_checked_in_one_pass() -> None:
    """With a comparison of each with each, this would take minutes."""
    many = list(range(200_000))
    assert Field(list[int]).check(many) == tuple(many)
    with pytest.raises(ValueError, match="holds 7 more than once"):
        Field(list[int]).check([*many, 7])

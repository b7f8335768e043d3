"""Numbers that are none: NaN and infinity are refused in every option of every command and in every declared value."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import pytest
from mozart.cli import COMMANDS, Command, Group, build_parser, main
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


def options() -> list[tuple[tuple[str, ...], str]]:
    """Return each option that takes a number that need not be whole, with the words of its command."""
    return [
        (tuple(words), action.option_strings[0])
        for words, parser in commands()
        for action in parser._actions
        if action.option_strings and action.type is not None and action.type not in (int, str)
    ]


def test_no_option_takes_pythons_own_floats() -> None:
    assert not [(words, a.dest) for words, parser in commands() for a in parser._actions if a.type is float]
    assert len(options()) > 15


@pytest.mark.parametrize(("words", "option"), options(), ids=lambda part: " ".join(part) if part else "")
def test_no_option_takes_what_is_not_finite(
    words: tuple[str, ...], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in WRONG:
        with pytest.raises(SystemExit) as ended:
            build_parser().parse_args([*words, f"{option}={value}"])
        assert ended.value.code == 2
        assert f"{option}: must be a finite number, not {value}" in capsys.readouterr().err


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

"""The `mozart` command: which subcommands there are, and how each way of ending becomes an exit status.

A subcommand is a line in `COMMANDS` and a module with two functions, `add_arguments(parser)` and
`run(args) -> int`. The module is imported when its subcommand is chosen, so that `mozart --help` answers
before numpy and numba are in memory. Results go to standard output, all else to standard error.

Exit status: 0 done, 1 failed, 2 bad usage or bad input, 130 stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP: these
two end a command as Ctrl-C does, so that it undoes what it made.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._version import __version__
from .descriptors import libraries_apart
from .errors import MozartError, SpecError
from .signals import Ended, ending_raises, name_of
from .traces.progress import say

FAILED, INTERRUPTED = 1, 130


@dataclass(frozen=True)
class Command:
    """A subcommand: what the list of commands says of it, and the module that does it."""

    help: str
    module: str


@dataclass(frozen=True)
class Group:
    """Subcommands under a common word."""

    help: str
    commands: Mapping[str, Command]


COMMANDS: dict[str, Command | Group] = {
    "replay": Command("replay a trace through a network, coordinated and not", ".commands.replay"),
    "open": Command("show a run again: its tables, its flows; evaluate a killed live run", ".commands.open"),
    "place": Command("place as many tasks as fit, and compare algorithms", ".commands.place"),
    "check": Command("check a task file, and say what it would run where", ".commands.check"),
    "live": Command("run a task file on a network that forwards packets", ".commands.live"),
    "tasks": Command("list, add and remove tasks in a network that is running live", ".commands.tasks"),
    "doctor": Command("say what a live run needs, what is missing and how to get it", ".commands.doctor"),
    "clean": Command("undo what live runs that crashed have left on this machine", ".commands.clean"),
    "list": Command("say what there is: events, measures, topologies, algorithms; columns", ".commands.list"),
    "topology": Command("show a network as a table and as a picture", ".commands.topology"),
    "trace": Group(
        "look into packet traces, cut, convert and make them",
        {
            "info": Command("say what is in a trace: flows, rates, sizes, protocols", ".traces.info_command"),
            "slice": Command("cut a part out of a trace, and stretch time", ".traces.slice_command"),
            "convert": Command("turn traces into pcap or Parquet columns", ".traces.convert_command"),
            "synth": Command("make backbone-like traffic from a seed", ".traces.synth_command"),
        },
    ),
}


class LateParser(argparse.ArgumentParser):
    """A parser that imports a command's module, for its arguments, when it is first asked to parse."""

    command: Command | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Declare the command's arguments, then parse."""
        if self.command is not None:
            command, self.command = self.command, None
            module = importlib.import_module(command.module, __package__)
            module.add_arguments(self)
            self.set_defaults(run=module.run)
        parsed, rest = super().parse_known_args(args, namespace)
        refuse_empty(self, parsed)
        return parsed, rest


OUTPUTS = ("out", "plot")
"""Arguments that commands check themselves, together with their other options (`folders.py`)."""


def refuse_empty(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    """Raise SpecError where an argument is an empty text, as a variable of a script that is not set makes it."""
    for action in parser._actions:
        value = getattr(parsed, action.dest, None)
        if value == action.default or action.dest in OUTPUTS:
            continue
        if value == "" or (isinstance(value, list) and "" in value):
            shown = action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)
            raise SpecError(f"{shown} '': the name or value is empty; give one, or leave it out")


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line; nothing heavy is imported."""
    parser = argparse.ArgumentParser(
        prog="mozart",
        description="Temporally coordinated measurement: selectors detect events, monitors record the flows.",
    )
    parser.add_argument("--version", action="version", version=f"mozart {__version__}")
    add_commands(parser, COMMANDS)
    return parser


def add_commands(parser: argparse.ArgumentParser, commands: Mapping[str, Command | Group]) -> None:
    """Add the subcommands of a table to a parser."""
    choices = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=LateParser)
    for name, command in commands.items():
        child = choices.add_parser(name, help=command.help, description=sentence(command.help))
        if isinstance(command, Group):
            add_commands(child, command.commands)
        else:
            child.command = command


def sentence(text: str) -> str:
    """Turn the words in a list of commands into a sentence."""
    return f"{text[0].upper()}{text[1:]}."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; what libraries print meanwhile goes to their log."""
    hold_streams()
    with libraries_apart(shlex.join(["mozart", *(sys.argv[1:] if argv is None else argv)])):
        return status_of(argv)


def status_of(argv: Sequence[str] | None) -> int:
    """Run the command line, and make an exit status of each way in which it can end."""
    try:
        args = build_parser().parse_args(argv)
        with ending_raises():
            status: int = args.run(args)
        sys.stdout.flush()
        return status
    except MozartError as error:
        say(str(error))
        return error.exit_code
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "mozart":
            raise
        say(f"the Python package {error.name} is not installed; run scripts/setup (live runs: sudo scripts/setup live)")
        return FAILED
    except Ended as ended:
        say(f"stopped by {name_of(ended.number)}")
        return 128 + ended.number
    except KeyboardInterrupt:
        say("stopped by Ctrl-C")
        return INTERRUPTED
    except BrokenPipeError:
        quiet_stdout()
        return FAILED
    except MemoryError as error:
        return out_of_memory(error)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return out_of_memory(error)
        say(f"{error.filename}: {error.strerror}" if error.filename else f"writing or reading: {error.strerror}")
        return FAILED


def hold_streams() -> None:
    """Make sure that what is printed goes somewhere, and that no character ends a run.

    A closed stream becomes the null device, so that no file of ours gets its number. A character that the
    encoding of standard output lacks (as in the locale C) is printed as a question mark.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def out_of_memory(error: Exception) -> int:
    """Say that a run asked for more memory than there is; returns the exit status."""
    say(f"this machine has not enough memory ({error}); ask for smaller tables (memory_entries, --memory)")
    return FAILED


def quiet_stdout() -> None:
    """Point standard output nowhere, so that Python does not complain at its exit about a closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())

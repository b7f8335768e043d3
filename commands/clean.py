"""`mozart clean`: undo exactly what runs that ended out of order have left on this machine."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart clean`."""
    parser.add_argument("--run", metavar="ID", dest="run_id", help="this run alone (mozart doctor lists left-overs)")
    parser.add_argument("--force", action="store_true", help="also runs that are under way: end them")


def run(args: argparse.Namespace) -> int:
    """Clean up; exit status 1 where something could not be removed."""
    from ..live.clean import clean
    from ..live.record import recorded_runs, runs_of_root

    others = runs_of_root()
    for each in others:
        print(f"{each}: use sudo mozart clean")
    if args.run_id is None and not recorded_runs():
        if not others:
            print("nothing is recorded of any run: there is nothing to clean")
        return 0 if all(each.running for each in others) else 1
    return 0 if clean(print, args.run_id, args.force) else 1

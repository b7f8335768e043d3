"""`mozart doctor`: what a live run needs, what is missing here, and the command that brings it."""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart doctor`."""
    parser.add_argument("--json", action="store_true", help="write what was found as JSON")


def run(args: argparse.Namespace) -> int:
    """Examine this machine; exit status 0 where a live run can start, 1 where something is missing."""
    import dataclasses

    from ..live.doctor import MISSING, examine, ready

    findings = examine()
    if args.json:
        found = [dataclasses.asdict(finding) for finding in findings]
        print(json.dumps({"ready": ready(findings), "findings": found}, indent=2))
        return 0 if ready(findings) else 1

    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("", "", "found", "what to do", box=box.SIMPLE_HEAD, pad_edge=False)
    for finding in findings:
        table.add_row(finding.name, finding.state, finding.found, finding.cure)
    console = Console()
    console.print(table)
    missing = [finding.name for finding in findings if finding.state == MISSING]
    print(f"missing: {', '.join(missing)}" if missing else "a live run can start: mozart live examples/b4-live.yaml")
    return 1 if missing else 0

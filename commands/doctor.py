"""`mozart doctor`: what a live run needs, what is missing here, and the command that brings it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..live.doctor import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart doctor`."""
    parser.add_argument("--json", action="store_true", help="write what was found as JSON")


def run(args: argparse.Namespace) -> int:
    """Examine this machine; exit status 0 where a live run can start, 1 where something is missing."""
    import dataclasses

    from ..live.doctor import examine, ready

    findings = examine()
    if args.json:
        found = [dataclasses.asdict(finding) for finding in findings]
        print(json.dumps({"ready": ready(findings), "findings": found}, indent=2))
        return 0 if ready(findings) else 1

    show(findings)
    return 0 if ready(findings) else 1


def show(findings: Sequence[Finding]) -> None:
    """Print what was found, then what to do about it: whole lines, which a narrow terminal wraps and nothing cuts."""
    from ..live.doctor import MISSING, UNKNOWN

    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{finding.name:{width}}  {finding.state:7}  {finding.found}")
    cures: dict[str, list[str]] = {}
    for finding in findings:
        if finding.cure:
            cures.setdefault(finding.cure, []).append(finding.name)
    if cures:
        print("\nwhat to do:")
        for cure, names in cures.items():
            print(f"  {', '.join(names)}:\n    {cure}")
    missing = [finding.name for finding in findings if finding.state == MISSING]
    unknown = [finding.name for finding in findings if UNKNOWN in finding.found]
    print()
    if unknown:
        print(f"{UNKNOWN}: {', '.join(unknown)}")
    print(f"missing: {', '.join(missing)}" if missing else "a live run can start: mozart live examples/b4-live.yaml")

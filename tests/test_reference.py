"""What documentation and `mozart list` say of names, parameters and columns is what the code has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mozart.cli import main
from mozart.commands.known import KNOWN, columns
from mozart.commands.reference import DOCS, PARTS, renewed
from mozart.errors import SpecError
from mozart.fields import Field
from mozart.live.columns import COMPARISON
from mozart.live.compare import compare
from mozart.monitors.measures import MEASURES
from mozart.placement.algorithms import ALGORITHMS
from mozart.replay.columns import LINKS, ROWS
from mozart.replay.run import replay
from mozart.selectors.events import EVENTS
from mozart.topologies.catalogue import SUMMARIES, TABLES

SPEC = {
    "topology": {"name": "line", "n": 3},
    "traffic": {"synthetic": "caida-like", "duration_s": 0.5, "packets_per_s": 20000},
    "tasks": [
        {
            "name": "lossy",
            "selector": {"event": "loss", "at": "source-host", "min_packets": 5},
            "monitor": {"measure": "volume", "at": "path-switches", "memory_entries": 64},
        }
    ],
}


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_the_documentation_is_what_the_code_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert renewed(text, page.name) == text, "run make docs"


def test_every_part_stands_in_the_documentation() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    assert [name for name in PARTS if f"<!-- made by make docs: {name} -->" not in text] == []


def test_a_wrong_mark_is_refused() -> None:
    for text in ("<!-- made by make docs: nothing -->", "<!-- made by make docs: modes --> and no end"):
        with pytest.raises(SpecError, match=r"page\.md: the part"):
            renewed(text, "page.md")


def listed(capsys: pytest.CaptureFixture[str], what: str) -> Any:
    assert main(["list", what, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("what", "there"),
    [("events", EVENTS), ("measures", MEASURES), ("algorithms", ALGORITHMS), ("topologies", TABLES)],
)
def test_everything_with_a_name_is_listed(what: str, there: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys, what)
    assert [each["name"].removeprefix("FILE") for each in found] == list(there)
    assert all(each["summary"] for each in found)
    assert set(SUMMARIES) == set(TABLES)
    for parameter in (parameter for each in found for parameter in each["parameters"]):
        assert list(parameter) == ["name", "type", "unit", "default", "meaning"]
        assert parameter["meaning"]
    assert main(["list", what]) == 0
    shown = capsys.readouterr().out
    assert all(f"{name}: " in shown for name in there)


def test_parameters_have_types_units_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    loss, scan = listed(capsys, "events")[:2]
    assert [(p["name"], p["type"], p["unit"], p["default"]) for p in loss["parameters"]] == [
        ("key", "str", "", "five-tuple"),
        ("threshold", "float", "share", 0.02),
        ("min_packets", "int", "packets", 20),
    ]
    ports = next(p for p in scan["parameters"] if p["name"] == "ports")
    assert (ports["type"], ports["default"]) == ("list[int]", [22, 23, 445, 3389])


def test_a_parameter_without_a_default_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EVENTS["loss"], "parameters", {"limit": Field(int, "most", unit="bytes")})
    (limit,) = (p for p in KNOWN["events"]()[0].to_dict()["parameters"] if p["name"] == "limit")
    assert limit["required"] is True
    assert limit["default"] is None


def test_a_list_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["list", "colours"])
    assert ended.value.code == 2
    assert "events" in capsys.readouterr().err


KINDS = {"text": str, "int64": int, "float64": float, "bool": bool}


def test_rows_have_the_declared_columns_and_types() -> None:
    result = replay(SPEC, loss={"s1-s2": 0.1}, mode=["tag", "mozart"])
    for declared, rows in ((ROWS, result.rows), (LINKS, result.link_rows)):
        assert rows
        for row in rows:
            assert set(row) == set(declared.names)
            for column in declared:
                value = row[column.name]
                assert isinstance(value, KINDS[column.type]) or (column.nullable and value is None), column.name
    assert set(compare(result.rows, result.rows)[0]) == set(COMPARISON.names)


def test_the_columns_of_every_table_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys, "columns")
    assert {each["table"] for each in found} == {table.name for table in columns()}
    assert all(each["meaning"] for each in found)
    assert [c.name for table in columns() for c in table if not c.computed] == []
    assert main(["list", "columns"]) == 0
    assert "not_captured_ratio" in capsys.readouterr().out

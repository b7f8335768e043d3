"""Documents of nested keys (YAML text, Python dicts), read by tables of `Field`s, all problems told at once.

A wrong value does not stop the reading: it is noted with file, line and path, and `Problems.finish` raises
them together. Knows nothing of what the keys mean.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import SpecError
from .fields import Field, scalar, show, suggestion

MAX_DEPTH = 20
"""Deepest nesting that is read; a task file needs six."""
TOO_DEEP = f"nested more than {MAX_DEPTH} deep"


@dataclass(frozen=True)
class Node:
    """A value (dict of nodes, list of nodes, or a plain one), the line it stands on and the way to it."""

    value: Any
    line: int | None
    path: str

    def plain(self) -> Any:
        """Return the value without lines and paths."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        return [node.plain() for node in self.value] if isinstance(self.value, list) else self.value


@dataclass(frozen=True)
class Places:
    """Where the values of a document stood: what it is called, and the line of each path ('tasks[0].selector.at').

    In Python objects values have paths and no lines.
    """

    source: str = "task file"
    lines: Mapping[str, int | None] = field(default_factory=dict)

    def line(self, path: str) -> int | None:
        """Return the line of a value, or that of the nearest table around it; None where no line is known."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path)


class Problems:
    """What is wrong with one document, in the order of its lines."""

    def __init__(self, source: str):
        self.source = source
        self.found: list[tuple[int | None, str]] = []

    def add(self, line: int | None, path: str, message: str) -> None:
        """Note a problem."""
        self.found.append((line, f"{path}: {message}" if path else message))

    def finish(self) -> None:
        """Raise SpecError, a line for each problem, if there is any."""
        if self.found:
            ordered = sorted(self.found, key=lambda problem: problem[0] or 0)
            places = [(self.source if line is None else f"{self.source}:{line}", text) for line, text in ordered]
            raise SpecError("\n".join(dict.fromkeys(f"{place}: {text}" for place, text in places)))


class Section:
    """The keys of one table of a document, taken out by name; what is wrong goes to `problems`."""

    def __init__(self, node: Node, problems: Problems, known: str = ""):
        self.line, self.path, self.problems = node.line, node.path, problems
        self.nodes: dict[str, Node] = node.value if isinstance(node.value, dict) else {}
        self.is_table = node.value is None or isinstance(node.value, dict)
        if not self.is_table:
            problems.add(node.line, node.path, f"must be a table of keys{known}, not {show(node.plain())}")

    def places(self) -> Places:
        """Return where the values of this table stand."""
        lines: dict[str, int | None] = {}
        nodes = list(self.nodes.values())
        while nodes:
            node = nodes.pop()
            lines[node.path] = node.line
            if isinstance(node.value, dict | list):
                nodes.extend(node.value.values() if isinstance(node.value, dict) else node.value)
        return Places(self.problems.source, lines)

    def __contains__(self, key: str) -> bool:
        return key in self.nodes

    def value(self, key: str, field: Field) -> Any:
        """Return what the key holds, checked; the field's default (None if it has none) where that fails."""
        fallback = None if field.required else field.default
        if key not in self.nodes:
            if field.required:
                self.miss(key, field.allowed)
            return fallback
        try:
            return field.check(self.nodes[key].plain())
        except ValueError as error:
            self.refuse(key, str(error))
            return fallback

    def values(self, fields: Mapping[str, Field]) -> dict[str, Any]:
        """Return what each of the fields holds."""
        return {key: self.value(key, field) for key, field in fields.items()}

    def section(self, key: str, fields: Mapping[str, Field] | Sequence[str] = ()) -> Section:
        """Return the table under a key, empty where there is none; the fields' names are for the message."""
        known = f" ({', '.join(fields)})" if fields else ""
        node = self.nodes.get(key, Node(None, self.line, self._path(key)))
        section = Section(node, self.problems, known)
        section.is_table &= self.is_table
        return section

    def sections(self, key: str) -> list[Section]:
        """Return the tables of the list under a key; a missing, empty or other value is a problem."""
        node = self.nodes.get(key)
        if node is None:
            self.miss(key, "a list of at least one table")
        elif not isinstance(node.value, list) or not node.value:
            self.refuse(key, f"must be a list of at least one table, not {show(node.plain())}")
        if node is None or not isinstance(node.value, list):
            return []
        return [Section(item, self.problems) for item in node.value]

    def only(self, known: Mapping[str, Any] | Sequence[str]) -> None:
        """Refuse the keys that are none of the known ones."""
        for key in self.nodes:
            if key not in known:
                self.refuse(key, f"unknown key{suggestion(key, known)}; keys here are {', '.join(known)}")

    def miss(self, key: str, allowed: str) -> None:
        """Note that a key is missing, unless the whole section is no table, which is told already."""
        if self.is_table:
            self.refuse(key, f"is missing; it must be {allowed}")

    def refuse(self, key: str, message: str) -> None:
        """Note that the value of a key is wrong."""
        line = self.nodes[key].line if key in self.nodes else self.line
        self.problems.add(line, self._path(key), message)

    def _path(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key


def read_yaml(text: str, source: str) -> Section:
    """Read YAML text as one table of keys. Text that is no YAML, aliases and tags raise SpecError at once."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    problems = Problems(source)
    try:
        _refuse_extras(yaml.parse(text, Loader=loader), problems)
        problems.finish()
        root = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if mark and (deep := _too_deep(text[: mark.index])):
            problems.add(deep, "", TOO_DEEP)  # some libraries give up by themselves, each in its own words
            problems.finish()
        what = ", ".join(filter(None, (error.context, error.problem)))
        problems.add(mark.line + 1 if mark else None, "", f"not valid YAML: {what}")
        problems.finish()
    except yaml.YAMLError as error:
        problems.add(None, "", f"not valid YAML: {' '.join(str(error).split())}")
        problems.finish()
    node = Node(None, 1, "") if root is None else _from_yaml(root, 1, "", problems)
    return Section(node, problems)


def read_python(document: Mapping[str, Any], source: str) -> Section:
    """Read nested dicts and lists as one table of keys."""
    problems = Problems(source)
    return Section(_from_python(document, "", problems, 0), problems)


def _refuse_extras(events: Iterator[Any], problems: Problems) -> None:
    """Note what a task file has no use for and what can do harm: aliases, tags, nesting without end."""
    from yaml import AliasEvent, CollectionEndEvent, CollectionStartEvent

    depth = 0
    for event in events:
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            problems.add(line, "", f"the alias *{event.anchor} is not allowed; write the value out")
        elif getattr(event, "tag", None) is not None:
            problems.add(line, "", f"the tag {event.tag} is not allowed; write a plain value")
        if depth > MAX_DEPTH:
            problems.add(line, "", TOO_DEEP)
            return


def _too_deep(text: str) -> int | None:
    """Return the line where brackets and braces are open more than MAX_DEPTH deep, if they are (quotes aside)."""
    depth = 0
    for found in re.finditer(r"[\[\]{}]", text):
        depth += 1 if found[0] in "[{" else -1
        if depth > MAX_DEPTH:
            return text.count("\n", 0, found.start()) + 1
    return None


def _from_yaml(node: Any, line: int, path: str, problems: Problems) -> Node:
    """Turn a YAML node into a `Node`; a value stands on the line of its key."""
    if node.id == "scalar":
        return Node(node.value if node.style else scalar(node.value), line, path)
    if node.id == "sequence":
        items = [
            _from_yaml(item, item.start_mark.line + 1, f"{path}[{i}]", problems) for i, item in enumerate(node.value)
        ]
        return Node(items, line, path)
    keys: dict[str, Node] = {}
    for key_node, value_node in node.value:
        key_line = key_node.start_mark.line + 1
        if key_node.id != "scalar":
            problems.add(key_line, path, "a key must be a plain word, not a list or table")
            continue
        key = key_node.value
        key_path = f"{path}.{key}" if path else key
        if key in keys:
            problems.add(key_line, key_path, f"stands twice, first on line {keys[key].line}; keep one")
            continue
        keys[key] = _from_yaml(value_node, key_line, key_path, problems)
    return Node(keys, line, path)


def _from_python(value: Any, path: str, problems: Problems, depth: int) -> Node:
    if depth > MAX_DEPTH:
        problems.add(None, path, TOO_DEEP)
        return Node(None, None, path)
    if isinstance(value, Mapping):
        keys = {
            str(key): _from_python(item, f"{path}.{key}" if path else str(key), problems, depth + 1)
            for key, item in value.items()
        }
        return Node(keys, None, path)
    if isinstance(value, list | tuple):
        items = [_from_python(item, f"{path}[{i}]", problems, depth + 1) for i, item in enumerate(value)]
        return Node(items, None, path)
    return Node(os.fspath(value) if isinstance(value, os.PathLike) else value, None, path)

"""YAML with a file and a line for every value, so that each mistake is reported where it was made.

PyYAML's `load` drops positions, lets a duplicate key win silently and turns `02:00` into a number; its nodes keep
the text as written. The plan, the inventory and the parameter file are all read through `Value`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from textwrap import shorten
from typing import Any

import yaml

from runbook_lib.errors import PlanError

_KNOWN_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map", "timestamp")
}
_NULL = "tag:yaml.org,2002:null"


def nearest(word: str, known: Iterable[str]) -> str:
    """The advice that names the known word nearest to this one; empty when none is near."""
    found = get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    return f"write `{found[0]}`" if found else ""


@dataclass(frozen=True)
class Value:
    """One value of a file: its node, and the name of the file for messages."""

    node: yaml.Node
    file: str

    @property
    def line(self) -> int:
        """Line in the file, from 1."""
        return int(self.node.start_mark.line) + 1

    @property
    def is_null(self) -> bool:
        """Nothing is written."""
        return self.node.tag == _NULL

    @property
    def is_mapping(self) -> bool:
        """Keys and values."""
        return isinstance(self.node, yaml.MappingNode)

    @property
    def is_list(self) -> bool:
        """Elements in order."""
        return isinstance(self.node, yaml.SequenceNode)

    def error(self, observed: str, *, expected: str = "", action: str = "") -> PlanError:
        """A PlanError at this value's file and line."""
        observed = " ".join(observed.split())
        return PlanError(f"{self.file}:{self.line}", observed, expected=expected, action=action)

    def text(self, what: str) -> str:
        """The scalar as it was written; a missing value, a list or a mapping is an error."""
        if not isinstance(self.node, yaml.ScalarNode) or self.is_null or not self.node.value.strip():
            raise self.error(f"{what} is {self._kind()}", expected="a text")
        return " ".join(str(self.node.value).split())

    def verbatim(self, what: str) -> str:
        """As `text`, with every space and line end as it was written."""
        self.text(what)  # says where it is none
        return str(self.node.value)

    def word(self, text: str, known: Iterable[str], observed: str, *, more: str = "", otherwise: str = "") -> str:
        """The text, if it is one of these words; else the error names them, and the nearest.

        Args:
            more: What else is expected, after the words.
            otherwise: The advice when none is near.
        """
        words = list(known)
        if text not in words:
            action = nearest(text, words) or otherwise
            raise self.error(observed, expected="one of " + ", ".join(words) + more, action=action)
        return text

    def items(self, what: str) -> list[Value]:
        """The elements of a list; nothing written is an empty list."""
        if self.is_null:
            return []
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(f"{what} is {self._kind()}", expected="a list")
        return [Value(child, self.file) for child in self.node.value]

    def texts(self, what: str) -> list[tuple[str, Value]]:
        """Texts of a list or of one comma-separated text, each with the value it came from."""
        if self.is_list or self.is_null:
            return [(item.text(what), item) for item in self.items(what)]
        return [(part.strip(), self) for part in self.text(what).split(",") if part.strip()]

    def entries(self, what: str) -> list[Entry]:
        """Name and value of each entry: of a mapping, or of a list of one-key mappings and bare names."""
        if self.is_null:
            return []
        if isinstance(self.node, yaml.MappingNode):
            found = [_entry(key, child, self.file) for key, child in self.node.value]
        elif self.is_list:
            found = [item._single(what) for item in self.items(what)]
        else:
            raise self.error(f"{what} is {self._kind()}", expected="a mapping")
        seen: dict[str, Entry] = {}
        for entry in found:
            if entry.name in seen:
                raise entry.at.error(f"`{entry.name}` is written twice (first in line {seen[entry.name].at.line})")
            seen[entry.name] = entry
        return found

    def fields(self, what: str, known: Iterable[str], aliases: dict[str, str] | None = None) -> dict[str, Value]:
        """A mapping whose keys are all known; `aliases` maps a spelling in the wild to the key it means."""
        if self.is_null:
            return {}
        if not self.is_mapping:
            raise self.error(f"{what} is {self._kind()}", expected="a mapping")
        names, other = list(known), aliases or {}
        result: dict[str, Value] = {}
        for entry in self.entries(what):
            name = other.get(entry.name, entry.name)
            if name not in names:
                expected = "one of " + ", ".join(names)
                action = nearest(entry.name, [*names, *other])
                raise entry.at.error(f"unknown key `{entry.name}` in {what}", expected=expected, action=action)
            if name in result:
                raise entry.at.error(f"`{entry.name}` and `{name}` mean the same", action="keep one of them")
            result[name] = entry.value
        return result

    def plain(self) -> Any:
        """The value as plain Python data (dict, list, str, int, float, bool, None)."""
        if self.is_mapping:
            return {entry.name: entry.value.plain() for entry in self.entries("value")}
        if self.is_list:
            return [item.plain() for item in self.items("value")]
        try:
            return yaml.SafeLoader("").construct_object(self.node, deep=True)
        except (ValueError, yaml.YAMLError) as error:
            raise self.error(f"`{self.node.value}` cannot be read", action="write it in quotes") from error

    def _single(self, what: str) -> Entry:
        if isinstance(self.node, yaml.MappingNode) and len(self.node.value) == 1:
            key, value = self.node.value[0]
            return _entry(key, value, self.file)
        if isinstance(self.node, yaml.ScalarNode) and not self.is_null:
            return Entry(self.text(what), self, Value(yaml.ScalarNode(_NULL, "", self.node.start_mark), self.file))
        raise self.error(f"an element of {what} is {self._kind()}", expected="`name:` with its settings below it")

    def _kind(self) -> str:
        if self.is_mapping:
            return f"a mapping of {len(self.node.value)} keys"
        if self.is_list:
            return "a list"
        text = " ".join(str(self.node.value).split())
        return f"`{shorten(text, 60, placeholder='…')}`" if text else "empty"


@dataclass(frozen=True)
class Entry:
    """A name, where it stands, and its value."""

    name: str
    at: Value
    value: Value


def _entry(key: yaml.Node, value: yaml.Node, file: str) -> Entry:
    at = Value(key, file)
    return Entry(at.text("a key"), at, Value(value, file))


def read_file(path: Path, what: str) -> Value:
    """Read one YAML document.

    Args:
        path: The file.
        what: What it is, for messages: "plan", "inventory", "parameter file".
    Returns:
        Value: the document's root; an empty file is an error.
    Raises:
        PlanError: missing, not readable, not UTF-8, not YAML, or with tags that are code.
    """
    file = shown(path)
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError as error:
        raise PlanError(file, f"no such {what}", action=_neighbour(path)) from error
    except UnicodeDecodeError as error:
        raise PlanError(file, f"not UTF-8 at byte {error.start}", action="save it as UTF-8") from error
    except RecursionError as error:
        raise PlanError(
            file, "nested too deeply to be read", action="a plan has no such depth: see what it is"
        ) from error
    except OSError as error:
        raise PlanError(file, f"cannot be read: {(error.strerror or str(error)).lower()}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"{file}:{mark.line + 1}" if mark else file
        raise PlanError(line, f"not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise PlanError(file, f"not YAML: {' '.join(str(error).split())}") from error
    if root is None:
        raise PlanError(f"{file}:1", f"the {what} is empty")
    _refuse_odd(root, file, set(), ())
    return Value(root, file)


def shown(path: Path) -> str:
    """The path as a person would type it here."""
    try:
        short = os.path.relpath(path)
    except ValueError:  # another drive
        return str(path)
    return str(path) if short.startswith("..") else short


def _neighbour(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder {shown(path.parent)}; check the name"
    names = sorted(entry.name for entry in path.parent.glob("*.y*ml"))
    found = get_close_matches(path.name, names, n=1, cutoff=0.4)
    return f"did you mean {found[0]}?" if found else f"{shown(path.parent)} has {', '.join(names) or 'no YAML file'}"


def _refuse_odd(node: yaml.Node, file: str, seen: set[int], above: tuple[int, ...]) -> None:
    """Tags would be code or our own invention; a value that contains itself cannot be written down."""
    if id(node) in above:
        raise Value(node, file).error("a value contains itself")
    if id(node) in seen:
        return
    seen.add(id(node))
    if node.tag not in _KNOWN_TAGS:
        raise Value(node, file).error(f"tag `{node.tag.rsplit(':', 1)[-1]}` is not read", action="write plain YAML")
    children = node.value if isinstance(node, yaml.CollectionNode) else []
    for child in children:
        for part in child if isinstance(child, tuple) else (child,):
            _refuse_odd(part, file, seen, (*above, id(node)))

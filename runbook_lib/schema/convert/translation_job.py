"""One translation under way: its tables, its decisions, the names it has given."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.identifiers import parts_of, split
from runbook_lib.databases.port import Table
from runbook_lib.schema.convert.decisions import Decision, Policies
from runbook_lib.schema.convert.types import UserTypes


class SharedFacts(NamedTuple):
    """What is worked out once for all tables: their subjects by their own names, and names that are taken."""

    subjects: Mapping[str, str]
    taken: frozenset[str]


@dataclass
class _Job:
    """One translation under way."""

    source: str
    target: str
    tables: Mapping[str, Table]
    policies: Policies
    user: UserTypes
    known: SharedFacts
    decisions: list[Decision] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)  # of indexes and constraints, once a database
    long: dict[str, frozenset[str]] = field(default_factory=dict)  # table → columns that are to be TEXT at MySQL

    def decide(self, subject: str, what: str, chosen: str, *alternatives: str, lossy: bool = False) -> None:
        self.decisions.append(Decision(subject, what, chosen, alternatives, lossy))

    def name(self, name: str, subject: str) -> str:
        """A quoted name, shortened where the target's limit asks for it."""
        limit, unit = dialect_of(self.target).longest_name
        size = len(name.encode()) if unit == "bytes" else len(name)
        short = name
        if size > limit:
            digest = hashlib.sha256(name.encode()).hexdigest()[:8]
            kept = name.encode()[: limit - 9].decode(errors="ignore") if unit == "bytes" else name[: limit - 9]
            short = self.renamed[subject] = f"{kept}_{digest}"
            self.decide(subject, f"the name is longer than {limit} {unit}", short, "another name at the source")
        return quote(short, self.target)

    def listed(self, subject: str, columns: Sequence[str]) -> tuple[str, ...]:
        """Columns as the target writes them."""
        return tuple(self.name(column, f"{subject}.{column}") for column in columns)

    def object(self, name: str, subject: str, kind: str) -> str:
        """The name of an index or constraint, unlike any other of the database (engines differ in what must be)."""
        subject = ".".join(split(subject))  # without the quotes of a name that holds a dot
        wanted = f"{subject}_{kind}" if not name or name == "PRIMARY" or name.startswith("sqlite_autoindex") else name
        while wanted.lower() in self.names or wanted.lower() in self.known.taken:
            wanted = f"{subject}_{wanted}"
        self.names.add(wanted.lower())
        if name.lower() in self.known.taken:
            self.decide(f"{subject} {name}", f"{name} is the name of a table or of its key or counter there", wanted)
        return self.name(wanted, f"{subject} {kind} {wanted}")

    def parent(self, name: str) -> Table | None:
        """The table that a foreign key refers to, if it moves too."""
        return self.tables.get(name) or self.tables.get(self.known.subjects.get(name, ""))

    def table(self, name: str) -> str:
        """A table as the target's adapter writes it: with its schema, where the engine has schemas."""
        return ".".join(self.name(part, name) for part in parts_of(name, self.target))


def quote(name: str, dialect: str) -> str:
    """Quote one identifier for an engine, always."""
    return dialect_of(dialect).ident(name)

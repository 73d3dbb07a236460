"""What one engine can do and another cannot, with the words of a refusal: what was found, what is needed."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from runbook_lib.errors import DatabaseError


@dataclass(frozen=True)
class Capability:
    """One of them, of one engine; true where the engine has it.

    Attributes:
        needed_for: What asks for it.
        found: What is said of an engine that has it not; begins with `{engine}`.
        needed: What is expected instead.
    """

    needed_for: str
    found: str
    needed: str
    held: bool = False

    def __bool__(self) -> bool:
        return self.held

    def refusal(self, database: str) -> DatabaseError:
        """What is raised where a database of this name in the inventory is asked for it, and has it not."""
        return DatabaseError(f"database {database}", self.found, expected=self.needed)


@dataclass(frozen=True)
class Capabilities:
    """All of them; each is declared here, once."""

    transactional_ddl: Capability = Capability(
        "a revision as one transaction", "{engine} commits each DDL statement by itself", "DDL within a transaction"
    )
    wal_capture: Capability = Capability(
        "capture from the server's log", "{engine} has no `capture: wal`", "capture: triggers"
    )
    binary_copy: Capability = Capability(
        "copying stored values as they are", "{engine} has no binary bulk format", "a copy as text"
    )
    joined_loads: Capability = Capability(
        "loading small tables together", "{engine} makes each load its own transaction", "one load after the other"
    )

    @classmethod
    def of(cls, engine: str, *held: str) -> Capabilities:
        """Those of an engine, which has these."""
        has = {name: replace(getattr(cls(), name), held=True) for name in held}
        named = {each.name: getattr(cls(), each.name) for each in fields(cls)} | has
        return cls(**{name: replace(one, found=one.found.format(engine=engine)) for name, one in named.items()})

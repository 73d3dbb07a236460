"""Expand and contract: a change in two revisions, between which clients of both versions work.

While both shapes are there, whoever writes one, the other follows in the same transaction. The rollback path is open
until the contract, and the contract can be taken back too: the old shape is filled from the new one.

    names = Split(
        "people",
        old={"name": Column("text", "first || ' ' || last")},
        new={"first": Column("text", "split_part(name, ' ', 1)"), "last": Column("text", "split_part(name, ' ', 2)")},
    )

`expand(names)` and `take_back(names)` are one revision's up and down, `contract(names)` and `restore(names)` the
other's, run when no client of the old version is left. Columns that go into a table of their own are a `Move`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runbook_lib.schema.expand_contract.extract_table import Move
from runbook_lib.schema.expand_contract.split_column import Split
from runbook_lib.schema.expand_contract.two_shapes import Column
from runbook_lib.schema.online import emit

__all__ = ["Column", "Move", "Split", "contract", "expand", "out_of_step", "restore", "revision_files", "take_back"]


def expand(change: Split | Move) -> None:
    """Add the new shape, keep both equal from now on, fill what is there."""
    emit(lambda dialect: change.stages(dialect).expand)


def take_back(change: Split | Move) -> None:
    """Drop the new shape: the old one has every write."""
    emit(lambda dialect: change.stages(dialect).take_back)


def contract(change: Split | Move) -> None:
    """Drop the old shape, once no row is out of step."""
    emit(lambda dialect: change.stages(dialect).contract)


def restore(change: Split | Move) -> None:
    """Bring the old shape back, filled from the new one, both equal again."""
    emit(lambda dialect: change.stages(dialect).restore)


def out_of_step(change: Split | Move, dialect: str) -> str:
    """The query for rows of which neither shape follows from the other."""
    return change.stages(dialect).out_of_step


def revision_files(change: Split | Move, name: str, revises: str, dialects: Sequence[str]) -> dict[str, str]:
    """The two revisions as `.sql` files: file name to text.

    Args:
        name: Of both versions: `<name>_expand` and `<name>_contract`.
        revises: The version that the first one follows.
        dialects: postgresql, mysql (MariaDB too), or both.
    """
    stages = {dialect: change.stages(dialect) for dialect in dialects}
    return {
        f"{name}_expand.sql": _file(
            (f"{name}_expand", revises, change.texts[0]),
            {d: (one.expand, [one.out_of_step], one.take_back) for d, one in stages.items()},
        ),
        f"{name}_contract.sql": _file(
            (f"{name}_contract", f"{name}_expand", change.texts[1]),
            {d: (one.contract, [], one.restore) for d, one in stages.items()},
        ),
    }


def _file(head: tuple[str, str, str], sections: Mapping[str, tuple[list[str], list[str], list[str]]]) -> str:
    lines = [f"-- revision: {head[0]}", f"-- revises: {head[1]}", f"-- {head[2]}", "-- transaction: no", ""]
    for dialect, parts in sections.items():
        for name, statements in zip(("up", "verify", "down"), parts, strict=True):
            if statements:
                lines += [f"-- {name} ({dialect})", *(f"{statement};" for statement in statements), ""]
    return "\n".join(lines)

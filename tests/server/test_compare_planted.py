"""One rule changed at the target after a copy: `compare` names it; before, both are the same.

tests/fixtures/planted has the changes of each pair of engines: what is made at the source, what is done then at the
target, and what has to be said. Each is about an object of its own, so that one copy and one comparison show all.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from estate_sqlite import new_database

from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How
from runbook_lib.operations.pair import pair_of as copied_pair
from runbook_lib.validation import Report, validate
from runbook_lib.validation.comparison import compared_pair

FOLDER = Path(__file__).parents[1] / "fixtures" / "planted"
BASE = "CREATE TABLE base (id int PRIMARY KEY, a int); INSERT INTO base VALUES (1, 2);"
PAIRS = {
    "mariadb": ("mysql", "mysql"),
    "sqlite": ("sqlite", "sqlite"),
    "mariadb-to-postgresql": ("mysql", "postgresql"),
    "sqlite-to-postgresql": ("sqlite", "postgresql"),
    "postgresql-to-mariadb": ("postgresql", "mysql"),
}


@dataclass(frozen=True)
class Planted:
    """`says`: beginnings of differences; `aside`: of information, which is no failure."""

    made: str
    then: str
    says: tuple[str, ...]
    aside: tuple[str, ...]


def planted(name: str) -> Iterator[Planted]:
    for block in (FOLDER / f"{name}.txt").read_text().strip().split("\n\n"):
        lines = [line.partition(": ") for line in block.replace("\n    ", " ").splitlines()]
        said = {word: tuple(text for found, _, text in lines if found == word) for word in ("says", "aside")}
        told = {word: text for word, _, text in lines}
        yield Planted(told["made"], told["then"], **said)


@pytest.mark.parametrize("name", PAIRS)
def test_every_changed_rule_is_named_and_nothing_else_is(new_on: Any, tmp_path: Path, name: str):
    source, target = (
        new_database(tmp_path, place) if engine == "sqlite" else new_on(engine, place)
        for engine, place in zip(PAIRS[name], ("source", "target"), strict=True)
    )
    if any(side.dialect == "mysql" and side.flavour[0] != "MariaDB" for side in (source, target)):
        pytest.skip("the changes are in MariaDB's words")
    all_of_them = list(planted(name))
    source.run_script("".join([BASE, *(f"\n{each.made};" for each in all_of_them)]))
    clone(copied_pair(source, target), How())
    before = compared(source, target)
    assert before.passed, before.mismatches
    for each in all_of_them:
        change(target, each.then)
    report = compared(source, target)
    assert not [result.errors for result in report.results if result.errors]
    found = {mismatch.text for mismatch in report.mismatches}
    beside = {mismatch.text for result in report.results for mismatch in result.information}
    unsaid = [each for each in all_of_them if not (begin(each.says, found) and begin(each.aside, beside))]
    assert unsaid == [], sorted(found)
    wanted = tuple(text for each in all_of_them for text in each.says)
    assert {text for text in found if not text.startswith(wanted)} == set()


def begin(wanted: tuple[str, ...], found: set[str]) -> bool:
    return all(any(text.startswith(begins) for text in found) for begins in wanted)


def compared(source: Any, target: Any) -> Report:
    pair = compared_pair(source, target, ())
    return validate(pair.links, under_writes=False, catalogs=pair.catalogs)


def change(target: Any, script: str) -> None:
    """As a person does it: by the engine's own client, not through what mends scripts."""
    if target.dialect == "sqlite":
        with sqlite3.connect(target.path) as driver:
            driver.executescript(script)
        driver.close()
    elif target.dialect == "mysql":
        with target.raw() as driver:
            for statement in re.split(r";\s+", script):
                driver.query(statement.encode())
    else:
        target.run_script(script)

"""After a cutover and after a return the next value of every sequence is past all that the other side gave out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from runbook_lib.journal import Journal
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.operations.replicate import Switch, move, open_clone
from runbook_lib.transfer.writers import Side

SCHEMA = """
CREATE SEQUENCE by_hand; CREATE SEQUENCE codes; CREATE SEQUENCE far; CREATE SEQUENCE loose START 10;
CREATE SEQUENCE down INCREMENT -1;
CREATE TABLE t (id bigint PRIMARY KEY DEFAULT nextval('by_hand'), code text DEFAULT 'U' || nextval('codes'),
  plus integer DEFAULT 1000000 + nextval('far'), price numeric DEFAULT nextval('codes'));
ALTER SEQUENCE codes OWNED BY t.code;
INSERT INTO t (price) VALUES ('NaN'), (DEFAULT), (3);
"""


def test_the_next_value_is_past_what_the_other_side_gave_out_there_and_back(
    new_on: Callable[..., Any], tmp_path: Path
) -> None:
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(SCHEMA)
    pair = pair_of(source, target)
    clone(pair, How(follow=True))
    with closing(Journal(f"sqlite:///{tmp_path}/journal.sqlite")) as journal:
        run_id = open_clone(journal, pair, (), "test")
        for giving, taking, to in ((source, target, Side.TARGET), (target, source, Side.SOURCE)):
            asked = "nextval('loose'), nextval('down'), nextval('far'), nextval('codes')"
            loose, down, far, codes = giving.rows(f"SELECT {asked} FROM generate_series(1, 30)")[-1]
            giving.execute("SELECT nextval('by_hand')", "INSERT INTO t DEFAULT VALUES")
            assert move(pair, journal, run_id, to, Switch(), budget_s=20) is not None
            assert taking.rows("SELECT nextval('loose'), nextval('down')") == [(loose + 1, down - 1)]
            [(code, plus)] = taking.rows("INSERT INTO t DEFAULT VALUES RETURNING code, plus")
            assert int(code[1:]) > codes and 1_000_000 + far < plus < 1_000_100
            assert giving.fenced(["t"]) and not taking.fenced(["t"])

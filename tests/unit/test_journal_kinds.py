"""Kinds of entries: each is read back as it was written, former ones as today's, newer ones are said."""

from __future__ import annotations

import ast
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from runbook_lib.cli import main
from runbook_lib.display.terminal import _result_lines, status_lines
from runbook_lib.errors import JournalError
from runbook_lib.journal import Entry, History, Journal, canonical_json, kinds, plain
from runbook_lib.journal.content import KINDS, Content, Unknown, payload_of
from runbook_lib.journal.former_kinds import columns
from runbook_lib.journal.kinds import Item
from runbook_lib.verdict import Outcome, Verdict

ROOT = Path(__file__).parents[2]
FINE = Verdict(Outcome.PASS, "equal", {"rows": 3})
SHAPES = {"legacy": {"users": ["column id"], "orders": None}}
EVERY: list[Content] = [
    kinds.RunOpened("r", "demo", "p", "plans/p.yaml", "i", "ada", "vm", "2026-12-01"),
    kinds.PhaseStarted({"legacy": "sqlite:///a"}, {"jobs": 2}, "i", 7),
    kinds.Intent("a.b:C", {"name": "c"}, "00", True, reshapes=("legacy",)),
    kinds.Result("00", "pass", "did", {"rows": 3}, True, False, 1.5, FINE, FINE, [{"subject": "s"}], SHAPES),
    kinds.StandaloneVerdict("fail", "seen", {"rows": 3}),
    kinds.Gate(True, (Item("one", "pass", "fine", True), Item("two", "fail")), "00", "Go on"),
    kinds.RollbackIntent("00", "cutover"),
    kinds.RollbackResult("00", "pass", "gone", "cutover", {"rows": 3}, FINE, SHAPES),
    kinds.Alarm("error rate 5%", {"metric": "error_rate"}),
    kinds.Note("by the way", {"rows": 3}),
    kinds.RunSuperseded("the plan changed"),
    kinds.WatchOpened(86_400_000),
    kinds.WatchSeen(1.0, 61.0, 59_000, 1_000, 7_200, None, {"error_rate": 0.001}, "error_rate: too few"),
    kinds.ApprovalRequested("00"),
    kinds.SignoffRequested(),
    kinds.Approval("00", "fine", ""),
    kinds.Signoff("", "policy signoffs: auto"),
    kinds.SchemaApproved(SHAPES),
    kinds.SchemaBaseline({"v": "00"}, {"users": {"differences": ["d"], "target": {}}}),
    kinds.SchemaMigrationOpened("legacy", "schema", "1", "2", "schema of legacy: 1 → 2"),
    kinds.SchemaMigrationUndoing("it failed", "undone"),
    kinds.SchemaMigrationEnded(4, "back"),
    kinds.SyncStarted("forward", 7),
    kinds.SyncStopRequested("forward"),
    kinds.SyncEnded("forward", 12),
    kinds.SchemaChanged("users: column x is new", "forward"),
    kinds.ApplyDdlStatement("00", "11"),
    kinds.ActBegun(),
    kinds.InstanceChanged("user_service-1", "backed_up", "1", "backup-17"),
    kinds.RolloutGivenUp("user_service-3 is not healthy"),
    kinds.ApplyDdlBegun(("users", "orders")),
    kinds.ApplyDdlDone(),
    kinds.CopyOpened("a", "b", ("users",), {"types": {}}, "copy_1", ("users",), {"differences": []}),
    kinds.CopyChanged(("users", "orders"), {"differences": ["d"]}),
    kinds.WritersMoved("target", {"write_pause_ms": 12.5}),
]
WAY = {"database": "l", "folder": "s", "current": "1", "wanted": "2"}
FORMER: list[tuple[str, dict[str, Any], Content]] = [  # the step and the payload of a note
    ("Go on", {"asked": "approval", "subject": "00"}, kinds.ApprovalRequested("00")),
    ("baseline", {"asked": "signoff", "subject": ""}, kinds.SignoffRequested()),  # a task may have any words
    ("", {"text": "schema approved: legacy", "shapes": SHAPES}, kinds.SchemaApproved(SHAPES)),
    ("", {"shapes": SHAPES}, kinds.SchemaApproved(SHAPES)),
    ("", {"text": "superseded: a new estate began"}, kinds.RunSuperseded("a new estate began")),
    ("baseline", {"source": {}, "services": {}}, kinds.SchemaBaseline({}, {})),
    (
        "",
        {"text": "1 → 2", "data": {"schema_opened": WAY}},
        kinds.SchemaMigrationOpened("l", "s", "1", "2", "1 → 2"),
    ),
    ("", {"text": "undone", "data": {"schema_undoing": "why"}}, kinds.SchemaMigrationUndoing("why", "undone")),
    ("", {"text": "back", "data": {"schema_ended": 4}}, kinds.SchemaMigrationEnded(4, "back")),
    ("sync_started", {"direction": "forward", "pid": 7}, kinds.SyncStarted("forward", 7)),
    ("sync_stop", {"direction": "forward"}, kinds.SyncStopRequested("forward")),
    ("sync_ended", {"direction": "forward", "applied": 0}, kinds.SyncEnded("forward", 0)),
    ("schema_changed", {"text": "x", "direction": "back"}, kinds.SchemaChanged("x", "back")),
    ("apply_ddl_first", {"statement": "00", "marks": "11"}, kinds.ApplyDdlStatement("00", "11")),
    ("apply_ddl", {"tables": ["users"]}, kinds.ApplyDdlBegun(("users",))),
    ("apply_ddl_done", {}, kinds.ApplyDdlDone()),
    ("clone", {"source": "a", "target": "b", "tables": [], "how": {}}, kinds.CopyOpened("a", "b", (), {})),
    ("clone", {"baseline": {}, "followed": ["users"]}, kinds.CopyChanged(("users",), {})),
    ("moved", {"to": "target", "pause_s": 0.1}, kinds.WritersMoved("target", {"pause_s": 0.1})),
    ("", {"text": "the lease is still ours"}, kinds.Note("the lease is still ours")),
    ("clone", {"text": "a step of this name", "data": {}}, kinds.Note("a step of this name")),
]


def entry(kind: str, payload: Any, step: str = "") -> Entry:
    return Entry(1, "r", "2026-12-01T00:00:00+00:00", "ada", "", step, kind, canonical_json(plain(payload)), "")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    journal.open_run("r", environment="demo", plan_digest="p", actor="ada")
    yield journal
    journal.close()


def test_every_kind_is_read_back_as_it_was_written(journal: Journal) -> None:
    assert Counter(one.kind for one in EVERY) == Counter(KINDS.keys())
    for one in EVERY[1:]:
        journal.append("r", one)
    assert [found.content for found in journal.entries("r")][1:] == EVERY[1:]
    assert entry("run_opened", payload_of(EVERY[0])).content == EVERY[0]
    assert [found.content for found in journal.entries("r", kinds.Gate, kinds.Note)] == [EVERY[5], EVERY[9]]
    journal.verify_chain("r")


@pytest.mark.parametrize(("step", "payload", "today"), FORMER)
def test_a_former_note_is_read_as_the_kind_that_it_is_today(step: str, payload: Any, today: Content) -> None:
    found = entry("note", payload, step)
    assert found.content == today and found.read(type(today)) == today
    assert "note" in columns((type(today),))  # so that a query for today's kind finds it


def test_a_former_verdict_without_a_step_is_one_and_a_result_stays_a_result() -> None:
    verdict = {"outcome": "pass", "text": "all signed off", "data": {"problems": []}}
    assert entry("result", verdict).content == kinds.StandaloneVerdict("pass", "all signed off", {"problems": []})
    assert isinstance(entry("result", {"inputs": "00", **verdict}).content, kinds.Result)
    assert columns((kinds.StandaloneVerdict,)) == {"result", "standalone_verdict"}


def test_an_entry_that_lacks_a_field_or_is_of_another_kind_is_named() -> None:
    with pytest.raises(JournalError, match=r"entry 1 \(gate\): .*'passed'"):
        _ = entry("gate", {}).content
    with pytest.raises(JournalError, match=r"entry 1: is of kind note; expected gate"):
        entry("note", {"text": "", "data": {}}).read(kinds.Gate)


def test_what_a_newer_version_recorded_is_shown_and_the_run_is_not_acted_upon(tmp_path: Path, journal: Journal) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as driver, driver:
        values = ("r", 2, "2026-12-01T00:00:00+00:00", "", "cutover", "", "run_paused", '{"a":1}', "", "")
        driver.execute(f"INSERT INTO entries VALUES ({', '.join('?' * len(values))})", values)
    [opened, newer] = journal.entries("r")
    assert newer.content == Unknown("run_paused", {"a": 1}) and History([opened, newer]).unknown == [newer]
    said = "entry 2 (run_paused): of a newer version, not known to this one"
    assert f"waits for a newer runbook_lib: {said}" in list(status_lines(journal, "r"))
    assert list(_result_lines(newer)) == [(f"  ? {said}", "yellow")]
    with pytest.raises(JournalError, match=r"run r: entry 2 \(run_paused\): of a newer version.* nothing was done"):
        journal.lease("r", "ada").acquire()


def test_a_copy_whose_schema_change_was_carried_over_is_listed_with_the_tables_that_it_has_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(Journal(f"sqlite:///{tmp_path}/.runbook/copies.sqlite")) as journal:
        journal.open_run("copy-1", environment="copy", plan_digest="", actor="ada")
        opened = kinds.CopyOpened("sqlite:///a", "sqlite:///b", (), {}, "copy", ("users",))
        for content in (opened, kinds.CopyChanged(("users", "orders"), {})):
            journal.append("copy-1", content)
        journal.set_state("copy-1", "done")
    said = CliRunner().invoke(main, ["status", "--json"])
    [copy] = json.loads(said.stdout)
    assert (copy["kind"], copy["source"], copy["tables"]) == ("copy", "sqlite:///a", ["users", "orders"])


def strings(node: ast.AST) -> set[str]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def by_string(tree: ast.AST) -> Iterator[int]:
    """Lines that name a kind, or a key of a payload, by a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            given = [*node.args, *(word.value for word in node.keywords)]
            names = {str(one.value) for one in given if isinstance(one, ast.Constant)} & KINDS.keys()
            of_payload = isinstance(node.func.value, ast.Attribute) and node.func.value.attr == "payload"
            if of_payload or (names and node.func.attr in {"append", "write", "entries", "granted"}):
                yield node.lineno
        elif isinstance(node, ast.Compare) and strings(node) & KINDS.keys():
            if any(isinstance(one, ast.Attribute) and one.attr in ("kind", "answer") for one in ast.walk(node)):
                yield node.lineno
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "payload":
            yield node.lineno


def test_no_kind_and_no_key_of_a_payload_is_named_by_a_string_outside_the_journal() -> None:
    files = [file for file in (ROOT / "runbook_lib").rglob("*.py") if file.parent.name != "journal"]
    found = [f"{file.relative_to(ROOT)}:{line}" for file in files for line in by_string(ast.parse(file.read_text()))]
    assert found == []
    raw = [file.name for file in files if ".payload" in file.read_text()]
    assert raw == ["bundle.py"]  # the evidence shows what was hashed, whole


@pytest.mark.parametrize(
    "source",
    [
        'entry.payload["to"]', 'entry.payload.get("to")', 'entry.kind == "note"', 'entry.kind in ("gate", "alarm")',
        'journal.entries(run_id, kind="note")', 'run.write("note", payload={})',
    ],
)  # fmt: skip
def test_that_test_sees_what_it_looks_for(source: str) -> None:
    assert list(by_string(ast.parse(source))) == [1]

"""Rows that the target refuses: named, or quarantined, and everything around them copied and synced exactly."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner
from estate_engines import differences, link
from estate_sqlite import new_database as new_file

from runbook_lib.cli import main
from runbook_lib.errors import RowRejected
from runbook_lib.plan.model import Tolerance
from runbook_lib.transfer import waiting_log
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.transfer.capture import disable_capture, enable_capture
from runbook_lib.transfer.chunk_store import planned, stored, unfinished
from runbook_lib.transfer.held import Held
from runbook_lib.transfer.quarantine import Quarantine, read
from runbook_lib.transfer.replay import replay
from runbook_lib.transfer.sync import drain, drain_once
from runbook_lib.transfer.sync_process import exclusive
from runbook_lib.validation import DATA, validate
from runbook_lib.verdict import Outcome

PAIRS = [
    ("postgresql", "postgresql"),
    ("postgresql", "mysql"),
    ("mysql", "postgresql"),
    ("mysql", "sqlite"),
    ("sqlite", "postgresql"),
]
ONE = pytest.mark.parametrize("pair", PAIRS[:1], ids=["postgresql"], indirect=True)  # what no engine has a part in
SOURCE = "CREATE TABLE people (code varchar(30) NOT NULL PRIMARY KEY, n integer, email varchar(40))"
TARGET = (
    "CREATE TABLE people (code varchar(30) NOT NULL PRIMARY KEY, n integer, email varchar(40),"
    " CONSTRAINT young CHECK (n < 1000), CONSTRAINT one UNIQUE (email))"
)


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request, new_on, tmp_path):
    """300 rows at the source, of which the target refuses those with n of 1000 and more."""
    source, target = (
        new_file(tmp_path, name, wal=True) if engine == "sqlite" else new_on(engine, name)
        for engine, name in zip(request.param, ("source", "target"), strict=True)
    )
    source.run_script(SOURCE)
    target.run_script(TARGET)
    rows = ", ".join(f"('{chr(65 + i % 26)}{chr(97 + i % 25)}{i}', {i}, 'p{i}')" for i in range(300))
    source.execute(f"INSERT INTO people VALUES {rows}")
    yield source, target
    for each in (source, target):
        each.close()


@pytest.fixture
def linked(pair, tmp_path):
    made = link(*pair, ("people",))
    return replace(made, quarantine=Quarantine(tmp_path / "quarantine"))


def spoil(source, *numbers):
    source.execute(f"UPDATE people SET n = 5000 + n WHERE n IN ({', '.join(map(str, numbers))})")
    return {code for (code,) in source.rows("SELECT code FROM people WHERE n >= 1000")}


def missing(made):
    return {key[0] for key, _ in differences(made).get("people", ())}


def held(made):
    return {key[0]: row for key, row in made.quarantine.held(made.channel, "people").items()}


def test_the_refused_row_is_named_and_what_is_around_it_stays(linked):
    [bad] = spoil(linked.reader, 137)
    with pytest.raises(RowRejected) as caught:
        copy_link(replace(linked, quarantine=None), chunk_rows=100, jobs=1)
    told = str(caught.value)
    assert all(word in told for word in (f"people, key (code = {bad})", "5137", "young", "on_bad_row")), told
    linked.reader.execute("UPDATE people SET n = 1 WHERE n >= 1000")
    result = copy_link(linked, chunk_rows=100)
    assert (result.rows, differences(linked)) == (300, {})
    assert not result.quarantined


def test_refused_rows_are_set_aside_and_the_others_are_there_once(linked):
    bad = spoil(linked.reader, 0, 1, 2, 99, 137, 299)
    result = copy_link(linked, chunk_rows=100)
    assert (result.rows, result.quarantined) == (294, {"people": 6})
    assert missing(linked) == bad == set(held(linked))
    assert linked.writer.rows("SELECT count(*) FROM people") == [(294,)]
    for code, row in held(linked).items():
        assert dict(zip(row.columns, map(str, row.values), strict=True))["code"] == code
        assert str(row.values[1]).startswith("5") and "young" in row.reason
    assert not unfinished(linked) and copy_link(linked).rows_now == 0
    assert linked.quarantine.file(linked.channel, "people").stat().st_mode & 0o077 == 0


@ONE
def test_a_full_quarantine_stops_and_the_copy_goes_on_with_a_larger_one(linked):
    spoil(linked.reader, 5, 50, 150, 250)
    with pytest.raises(RowRejected, match=r"2 rows are in quarantine already.*at most 2 \(quarantine_limit\)"):
        copy_link(replace(linked, quarantine=replace(linked.quarantine, limit=2)), chunk_rows=100, jobs=1)
    assert copy_link(linked).quarantined == {"people": 4}
    assert linked.writer.rows("SELECT count(*) FROM people") == [(296,)]


@ONE
def test_a_kill_between_the_line_and_the_mark_leaves_one_row_set_aside(linked, monkeypatch):
    [bad] = spoil(linked.reader, 137)

    def killed(link, chunk):
        raise KeyboardInterrupt

    monkeypatch.setattr("runbook_lib.transfer.isolate_bad_rows.mark_done", killed)
    with pytest.raises(KeyboardInterrupt):
        copy_link(linked, chunk_rows=100, jobs=1)
    monkeypatch.undo()
    file = linked.quarantine.file(linked.channel, "people")
    file.write_text(file.read_text() + '{"channel": "there", "ta')  # and a line that was cut
    assert copy_link(linked).quarantined == {"people": 1}
    assert len(file.read_text().splitlines()) == 3 and [key[0] for key in read(file)] == [bad]
    assert missing(linked) == {bad} and linked.writer.rows("SELECT count(*) FROM people") == [(299,)]


@ONE
def test_a_range_that_was_split_is_no_longer_anybodys(linked):
    spoil(linked.reader, 137)
    [whole] = planned(linked, 1_000)
    copy_link(linked)
    parts = stored(linked, linked.flows[0])
    assert len(parts) > 3 and whole.key_range.ordinal not in {part.key_range.ordinal for part in parts}
    assert sum(part.rows_done for part in parts) == 299


def test_a_change_that_is_refused_does_not_stop_the_sync_and_a_later_one_lifts_it(linked):
    source = linked.reader
    enable_capture(linked)
    copy_link(linked)
    one, two = (source.rows(f"SELECT code FROM people WHERE n = {n}")[0][0] for n in (7, 8))
    source.execute(
        f"UPDATE people SET n = 7000 WHERE code = '{one}'",
        f"DELETE FROM people WHERE code = '{two}'",
        "INSERT INTO people VALUES ('new', 3, 'new')",
    )
    drain([linked])
    assert missing(linked) == {one} == set(held(linked)) and source.pending(linked.channel)["people"].keys == 0
    source.execute(f"UPDATE people SET n = 70 WHERE code = '{one}'")
    drain([linked])
    assert differences(linked) == {} and held(linked) == {}
    with pytest.raises(RowRejected):
        source.execute("UPDATE people SET n = 9000 WHERE code = 'new'")
        drain([replace(linked, quarantine=None)])


@ONE
def test_a_comparison_names_them_and_fails_unless_just_they_are_tolerated(linked):
    [bad] = spoil(linked.reader, 137)
    copy_link(linked)
    declared = [Tolerance(check, "known", kind="quarantined") for check in ("row_counts", "data_sample", "checksums")]
    report = validate([linked], checks=DATA, under_writes=False)
    assert {str(found.kind) for found in report.mismatches} == {"quarantined"} and report.failed == DATA
    [found] = report.result("checksums").mismatches
    assert found.key == (bad,) and "missing on target, in quarantine" in found.text and "young" in found.text
    assert validate([linked], checks=DATA, under_writes=False, tolerances=declared).passed
    linked.writer.execute("DELETE FROM people WHERE n = 5")
    report = validate([linked], checks=DATA, under_writes=False, tolerances=declared)
    assert {str(found.kind) for found in report.mismatches} == {"row_count", "missing_on_target"}


def test_a_row_that_a_running_sync_holds_back_is_different_with_its_reason_and_not_in_flight(linked):
    bare, told = replace(linked, quarantine=None), list[str]()
    enable_capture(bare)
    copy_link(bare)
    [bad] = spoil(bare.reader, 137)
    bare.reader.execute("UPDATE people SET n = 8 WHERE n = 7")
    with exclusive([bare]):  # as the sync does
        sync = Held(tell=told.append)
        drain_once(bare, held=sync)
        report = validate([bare], checks=DATA, settle_s=0.3)
        assert [str(found.kind) for found in report.mismatches] == ["held_back"] * 2 and not report.passed
        assert {found.key for found in report.mismatches} == {(bad,)} and not report.in_flight
        assert "; held back: " in report.mismatches[0].text and "young" in report.mismatches[0].text
        bare.reader.execute("UPDATE people SET n = 137 WHERE n >= 1000")
        sync.waiting[bare.channel, "people"].until = 0.0  # its time has come
        drain_once(bare, held=sync)
        assert validate([bare], checks=DATA, settle_s=0.3).passed and waiting_log.read(bare.reader, bare.channel) == {}
        bare.reader.execute("INSERT INTO people VALUES ('waits', 1, 'w')")
        counts = validate([bare], checks=("row_counts",), settle_s=0.1)
    assert counts.passed and len(counts.in_flight) == 1  # nobody holds it back
    ended = validate([bare], checks=DATA, settle_s=0.1)
    assert (ended.outcome, ended.stranded) == (Outcome.FAIL, 1)
    disable_capture(bare)


@ONE
def test_what_the_other_directions_sync_cannot_carry_over_is_not_in_flight(linked):
    back = link(linked.writer, linked.reader, ("people",), forward=False)
    both = replace(linked, quarantine=None, opposite=back)
    enable_capture(both)
    copy_link(both)
    enable_capture(back)
    both.reader.execute("UPDATE people SET n = 8 WHERE n = 7")
    with exclusive([back]):
        report = validate([both], checks=DATA, settle_s=0.1)
    assert report.outcome is Outcome.FAIL and "wait" in report.text


@ONE
def test_a_replay_takes_in_what_fits_by_now(linked):
    one, _ = spoil(linked.reader, 137, 138)
    copy_link(linked)
    file = linked.quarantine.file(linked.channel, "people")
    link_of = {("there", "people"): linked}
    assert replay(file, lambda *place: link_of[place]).text.endswith("2 rows tried, 0 fit now, 2 are refused")
    linked.reader.execute(f"UPDATE people SET n = 3 WHERE code = '{one}'")
    assert len(replay(file, lambda *place: link_of[place]).left) == 1
    linked.reader.execute("DELETE FROM people WHERE n >= 1000")
    assert replay(file, lambda *place: link_of[place]).text.endswith("1 rows tried, 1 fit now, 0 are refused")
    assert differences(linked) == {} and replay(file, lambda *place: link_of[place]).tried == 0


def test_a_row_that_cannot_even_be_read_is_set_aside_by_its_key(new_on, tmp_path):
    source, target = new_file(tmp_path, "source"), new_on("postgresql", "target")
    source.run_script("CREATE TABLE t (id INTEGER PRIMARY KEY, day DATE)")
    target.run_script("CREATE TABLE t (id bigint PRIMARY KEY, day date)")
    source.execute(*(f"INSERT INTO t VALUES ({i}, '2020-01-{i:02}')" for i in (1, 2, 3, 4, 31, 32)))
    made = replace(link(source, target, ("t",)), quarantine=Quarantine(tmp_path))
    enable_capture(made)
    assert copy_link(made).quarantined == {"t": 1}
    [row] = made.quarantine.held("there", "t").values()
    assert (row.key, row.values) == ((32,), ()) and "no such day" in row.reason
    source.execute("UPDATE t SET day = 'never' WHERE id = 2", "UPDATE t SET day = '2021-01-01' WHERE id = 3")
    drain([made])
    assert sorted(made.quarantine.held("there", "t")) == [("2",), ("32",)]
    assert target.rows("SELECT day::text FROM t WHERE id = 3") == [("2021-01-01",)]
    source.close()


def test_a_table_without_a_key_stops(new_on, tmp_path):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.execute("CREATE TABLE t (n integer)", "INSERT INTO t VALUES (1), (5000)")
    target.execute("CREATE TABLE t (n integer CHECK (n < 1000))")
    with pytest.raises(RowRejected, match="has no key"):
        copy_link(replace(link(source, target, ("t",)), quarantine=Quarantine(tmp_path)))


def test_the_command_replays_a_file(tmp_path):
    """Without a plan: two files of SQLite."""
    source, target = new_file(tmp_path, "source"), new_file(tmp_path, "target")
    source.run_script("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
    target.run_script("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CHECK (n < 1000))")
    source.execute("INSERT INTO t VALUES (1, 5), (2, 5000)")
    made = replace(link(source, target, ("t",)), quarantine=Quarantine(tmp_path / "quarantine"))
    copy_link(made)

    def command(*arguments):
        places = ["--source", str(source.path), "--target", str(target.path)]
        return CliRunner().invoke(main, ["replay", *map(str, arguments), *places], prog_name="runbook")

    file = made.quarantine.file("there", "t")
    ran = command(file)
    assert ran.exit_code == 1 and "1 rows tried, 0 fit now" in ran.stdout and "t (2): " in ran.stdout
    source.execute("UPDATE t SET n = 6 WHERE id = 2")
    ran = command(file)
    assert ran.exit_code == 0 and "1 fit now" in ran.stdout and target.rows("SELECT n FROM t WHERE id = 2") == [(6,)]
    assert command(tmp_path / "none.jsonl").exit_code == 2
    assert CliRunner().invoke(main, ["replay", str(file)], prog_name="runbook").exit_code == 2
    for each in (source, target):
        each.close()

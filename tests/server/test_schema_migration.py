"""The whole path on real databases: version, proven backup, each revision, version; and every way in which it fails."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from estate_schema import HEAD, Place, fill, new_sqlite, users, write

from runbook_lib import steps
from runbook_lib.cli import main
from runbook_lib.config.environment import load_environment_file
from runbook_lib.errors import ConfigurationError, GateFailed, OutOfOrder, StepFailed
from runbook_lib.evidence.verify import verify_bundle
from runbook_lib.run.run import begin
from runbook_lib.runner import run_phases
from runbook_lib.schema.revisions import version_store
from runbook_lib.schema.revisions.graph import BASE
from runbook_lib.steps import migrate_schema, schema_difference, schema_path, schema_result

ROOT = Path(__file__).parents[2]
TWICE = "INSERT INTO orders SELECT id, user_id, placed_at FROM orders;"  # only its rows show that it cannot run


@pytest.fixture(params=["postgresql", "mysql", "sqlite"])
def place(request: pytest.FixtureRequest, new_on: Any, tmp_path: Path, monkeypatch: Any) -> Iterator[Place]:
    """The folder, with a filled database of each engine."""
    if request.param == "sqlite":
        (tmp_path / "data").mkdir()
        with new_sqlite(tmp_path / "data") as database:
            yield Place(tmp_path, database, monkeypatch)
    else:
        yield Place(tmp_path, fill(new_on(request.param, "practice")), monkeypatch)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: Any) -> Iterator[Place]:
    """The same on SQLite alone, for what is the same on every engine."""
    (tmp_path / "data").mkdir()
    with new_sqlite(tmp_path / "data") as database:
        yield Place(tmp_path, database, monkeypatch)


def test_a_path_is_carried_out_and_back_each_with_a_proven_backup_and_its_result_is_shown(place: Place) -> None:
    before = users(place.example().database)
    with place.run() as run:
        shown = schema_path(run)
        assert "CREATE TABLE preferences" in str(shown) and "practice is at base" in str(shown)
        records = migrate_schema(run)
        assert [record.name for record in records] == [
            "verify_version:source",
            "backup_source:practice",
            "apply_revision:0001_country",
            "apply_revision:0002_preferences",
            "apply_revision:0003_latest_orders",
            "verify_version:target",
        ]
        assert "restored in" in records[1].text
        assert records[3].data["rows"] == 4
        assert ("users", "went", "column theme text") in {
            (*row[:2], row[2][:17]) for row in schema_difference(run).rows
        }
        assert [row[0] for row in schema_result(run).rows][-1] == HEAD
        run.gate()
    assert place.version() == HEAD
    assert place.go("head") == ["verify_version:source"]  # there is nothing to do: no backup either
    assert place.go("base", direction="down")[2:-1] == [
        "apply_revision:0003_latest_orders:down",
        "apply_revision:0002_preferences:down",
        "apply_revision:0001_country:down",
    ]
    assert (place.version(), users(place.database)) == (BASE, before)
    assert len(list((place.root / ".runbook/backups").glob("*/practice.json"))) == 2  # each way has its own


def test_a_revision_that_fails_takes_those_before_it_back_and_says_where_the_database_is(place: Place) -> None:
    place.example()
    before, shape = users(place.database), version_store.shape(place.database)
    up = f"ALTER TABLE users ADD COLUMN late int;\n{TWICE}"
    write(place.folder, revision="0004", revises=HEAD, up=up, down="ALTER TABLE users DROP COLUMN late;")
    for _ in range(2 if place.database.dialect == "sqlite" else 1):  # nothing is left that stands in the way
        with place.run() as run, pytest.raises(StepFailed) as failed:
            migrate_schema(run)
        assert re.search(r"revision 0004 \(up\), statement 2 of 2: .*INSERT INTO orders", str(failed.value))
        assert "4 revisions undone and verified: practice is at base" in str(failed.value)
        assert (place.version(), users(place.database)) == (BASE, before)
        assert version_store.shape(place.database) == shape
    (place.folder / "0004.sql").unlink()
    place.go()  # what failed and was undone before stands in no gate's way
    assert place.version() == HEAD


def test_a_verification_that_fails_takes_everything_back(place: Place) -> None:
    place.example()
    verify = "SELECT id FROM users WHERE theme IS NULL;"
    write(place.folder, revision="0000", up="CREATE TABLE extra (id int);", verify=verify, down="DROP TABLE extra;")
    first = place.folder / "0001_country.sql"
    first.write_text(first.read_text().replace("revises: base", "revises: 0000"))
    with place.run() as run, pytest.raises(StepFailed, match=r"verification fails: .*finds 2; .*practice is at base"):
        migrate_schema(run)
    assert place.version() == BASE
    assert "extra" not in place.database.catalog()


def test_a_down_that_fails_too_says_both_and_goes_on_with_it_when_it_is_mended(place: Place) -> None:
    write(place.folder, revision="one", up="CREATE TABLE extra (id int);", down="DROP TABLE wrong;")
    write(place.folder, revision="two", revises="one", up=TWICE, down="SELECT 1;")
    with place.run() as run, pytest.raises(StepFailed) as failed:
        migrate_schema(run)
    for words in (r"two \(up\)", "INSERT INTO orders", "undoing it failed", "wrong", "practice is at one", "Next: "):
        assert re.search(words, str(failed.value))
    write(place.folder, revision="one", up="CREATE TABLE extra (id int);", down="DROP TABLE extra;")
    with (
        place.run() as run,
        pytest.raises(StepFailed, match=r"two \(up\).*1 revision undone and verified: practice is at base"),
    ):
        migrate_schema(run)
    assert place.version() == BASE
    assert "extra" not in place.database.catalog()


def test_a_schema_changed_by_hand_is_refused_before_the_backup_until_it_is_accepted(small: Place) -> None:
    small.example().go("0001")
    small.database.execute("ALTER TABLE users ADD COLUMN hotfix int")
    with small.run() as run, pytest.raises(StepFailed, match=r"changed by hand .* users: \+ column hotfix") as failed:
        migrate_schema(run)
    assert "nothing is changed: practice is at 0001_country" in str(failed.value)
    assert len(list((small.root / ".runbook/backups").glob("*/practice.json"))) == 1
    assert small.go(accept_drift=True)[-1] == "verify_version:target"
    assert small.version() == HEAD


def test_a_backup_that_does_not_restore_ends_it_before_any_revision(small: Place, monkeypatch: Any) -> None:
    small.example()
    kind = type(small.database)
    real = kind.backup

    def damaged(self: Any, directory: Path, **more: Any) -> Any:
        info = real(self, directory, **more)
        file = next(info.path.iterdir())
        file.write_bytes(file.read_bytes()[:-512])
        return info

    monkeypatch.setattr(kind, "backup", damaged)
    with small.run() as run, pytest.raises(StepFailed, match=r"proves nothing: it cannot be restored.*is at base"):
        migrate_schema(run)
    assert small.version() == BASE


def test_what_cannot_be_undone_waits_for_its_approval_and_what_is_in_stays_in(small: Place) -> None:
    write(small.folder, revision="one", up="CREATE TABLE extra (id int);", down="DROP TABLE extra;")
    write(small.folder, revision="two", revises="one", up="DELETE FROM orders;")
    small.approvals("ask")
    with small.run() as run, pytest.raises(GateFailed, match="irreversible: apply_revision:two"):
        migrate_schema(run)
    assert small.version() == "one"
    with small.run() as run, pytest.raises(OutOfOrder, match=r"on its way from base to two.* --to two; or give it up"):
        migrate_schema(run, "one", direction="down")
    status, said = command(small, "downgrade", "--to", "base")
    assert (status, said.splitlines()[-1]) == (0, "practice is at base")
    assert small.version() == BASE
    with small.run() as run, pytest.raises(GateFailed, match="irreversible: apply_revision:two"):
        migrate_schema(run)
    with small.run() as run:
        run.approve("irreversible: apply_revision:two", "the orders are in the archive")
        migrate_schema(run)
    assert small.version() == "two"
    with small.run() as run, pytest.raises(ConfigurationError, match="revision two: has no down"):
        migrate_schema(run, "one")


def command(place: Place, *arguments: str) -> tuple[int, str]:
    """A command's exit status and what it said, on either stream."""
    done = CliRunner().invoke(main, ["schema", arguments[0], "-f", str(place.file), *arguments[1:]])
    return done.exit_code, done.output


def test_the_command_line_says_where_it_is_plans_goes_up_and_down(small: Place) -> None:
    small.example()
    status, said = command(small, "status")
    assert (status, said.splitlines()[1]) == (0, "  – 0001_country  Users may say where they live")
    status, said = command(small, "plan", "--to", "0002")
    assert "-- up to 0002_preferences: 0001_country, 0002_preferences" in said and "CREATE INDEX preferences" in said
    assert command(small, "downgrade", "--to", "0002")[0] == 2
    status, said = command(small, "upgrade")
    assert (status, said.splitlines()[-1]) == (0, f"practice is at {HEAD}")
    assert "✓ apply revision 0002_preferences: practice is at 0002_preferences: 5 statements, 4 rows written" in said
    assert command(small, "upgrade", "--to", "0001") == (
        2,
        "runbook: schema of practice: 0001_country lies below 0003_latest_orders; nothing was run."
        " Next: runbook schema downgrade\n",
    )
    assert command(small, "downgrade", "--to", "base")[0] == 0
    assert small.version() == BASE
    status, said = command(small, "upgrade", "--to", "9")
    assert status == 2 and "unknown version 9" in said
    url = CliRunner().invoke(
        main, ["schema", "status", "--url", small.database.masked_url, "--revisions", str(small.folder)]
    )
    assert url.exit_code == 0 and "– 0003_latest_orders" in url.output
    assert CliRunner().invoke(main, ["schema", "status"]).exit_code == 2


def test_a_revision_may_use_what_the_one_before_it_makes(place: Place) -> None:
    write(place.folder, revision="one", up="CREATE TABLE extra (id int);", down="DROP TABLE extra;")
    up = "ALTER TABLE extra ADD COLUMN note int;\nINSERT INTO extra (id) VALUES (1);"
    down = "DELETE FROM extra;\nALTER TABLE extra DROP COLUMN note;"
    write(place.folder, revision="two", revises="one", up=up, down=down)
    place.go()
    assert (place.version(), place.database.rows("SELECT id FROM extra")) == ("two", [(1,)])
    place.go("base")
    assert place.version() == BASE


def test_a_hazard_that_the_policy_refuses_or_a_person_has_to_approve_stops_it_before_the_backup(place: Place) -> None:
    place.example()
    place.approvals("ask")
    with place.run() as run, pytest.raises(GateFailed, match="hazards: 0002_preferences"):
        migrate_schema(run)
    assert place.version() == BASE
    assert not (place.root / ".runbook/backups").exists()
    plan = place.root / "parameters/plans/p.yaml"
    plan.write_text(plan.read_text().replace("lint: {", "lint: {ban-drop-column: {policy: refuse, because: a test}, "))
    with (
        place.run() as run,
        pytest.raises(StepFailed, match=r"refused by the plan's policy: 0002_preferences, statement"),
    ):
        migrate_schema(run)
    plan.write_text(plan.read_text().replace("policy: refuse", "policy: warn"))
    if place.database.dialect == "postgresql":  # LOCK TABLE and the like are its own
        place.approvals("auto")
    place.go("0002")
    assert place.version() == "0002_preferences"


def test_its_notebook_runs_by_papermill_and_leaves_evidence_that_verifies(
    new_on: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    place = Place(tmp_path, fill(new_on("postgresql", "practice")), monkeypatch).example()
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    done = CliRunner().invoke(main, ["run", "-f", str(place.file)])
    assert done.exit_code == 0, done.output
    assert place.version() == HEAD
    [bundle] = (tmp_path / "evidence/test").iterdir()
    assert [step for step in verify_bundle(bundle) if not step.passed] == []
    page = (bundle / "schema_migration/notebook.html").read_text()
    for words in ("CREATE TABLE preferences", "<svg", "went", "restored and equal in 2 tables"):
        assert words in page


def test_a_kernel_that_cannot_be_started_ahead_keeps_no_phase_from_its_seal(
    small: Place, tmp_path: Path, monkeypatch: Any
) -> None:
    def no_room(root: Path) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp")

    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    monkeypatch.setattr(run_phases, "start_kernel", no_room)
    ours = run_phases.Runner(load_environment_file(small.example().file), lambda line: None)
    with closing(ours):
        done = ours.carry_out(("schema_migration", "schema_migration"))  # the second finds nothing left to do
        ours.finish()
    assert (done.exit_status, len(done.executed)) == (0, 2)
    assert (done.bundle / "schema_migration.attempt-1/statement.json").exists()
    assert [step for step in verify_bundle(done.bundle) if not step.passed] == []


def go_back(place: Place) -> list[str]:
    """What 90_rollback does; the names of the steps undone."""
    with begin(load_environment_file(place.file), "rollback") as run:
        steps.reasons(run)
        record = run.rollback()
        traffic = steps.inspect_traffic(run)
        assert str(traffic) == "Routes: pass (the inventory has no router: this run moves no traffic)"
        run.gate()
    return [item.name for item in record.items]


def test_the_rollback_notebook_needs_no_router_where_only_a_schema_was_moved(small: Place) -> None:
    before = users(small.example().database)
    small.go()
    assert go_back(small)[1:4] == [f"apply_revision:{one}" for one in (HEAD, "0002_preferences", "0001_country")]
    assert (small.version(), users(small.database)) == (BASE, before)
    small.go()  # a new run
    assert small.version() == HEAD


def test_nor_where_only_rows_were_copied_and_a_plan_that_switches_traffic_is_told_beforehand(small: Place) -> None:
    plan = small.root / "parameters/plans/p.yaml"
    plan.write_text(plan.read_text() + "services: {shop: {database: shop, tables: [notes]}}\nphases: [cleanup: {}]\n")
    small.database.execute(
        "CREATE TABLE notes (id integer PRIMARY KEY, words text)", "INSERT INTO notes VALUES (1, 'a'), (2, 'b')"
    )
    inventory = small.root / "parameters/inventories/i.yaml"
    shop = f"shop: {{url: 'sqlite:///{small.root}/shop.db', options: {{create: true}}}}"
    inventory.write_text(inventory.read_text().replace("databases: {", f"databases: {{{shop}, "))
    with begin(load_environment_file(small.file), "preflight") as run:
        assert "has no router: cleanup would switch traffic by one (next: add `router:`)" in str(
            steps.inspect_traffic(run)
        )
        run.steps([steps.BackupSource(), steps.CreateTargetSchemas(), steps.StartCapture()])
        assert run.step(steps.CopyHistory()).data["rows_copied"] == 2
    assert go_back(small) == ["copy_history", "start_capture", "create_target_schemas", "backup_source"]
    assert small.database.rows("SELECT count(*) FROM notes") == [(2,)]

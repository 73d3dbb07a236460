"""Bad input on the command line: one line that says what to do, exit status 2, no traceback, nothing left behind."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fix_evidence import RUN, Evidence
from fix_servers import PostgresServer, free_port

from runbook_lib.cli import main
from runbook_lib.config.database_url import open_endpoint
from runbook_lib.journal import Journal
from runbook_lib.journal.kinds import Approval, ApprovalRequested

ROOT = Path(__file__).parents[2]
PASSWORD = "correct-horse-9"


def runbook(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="runbook")


def refused(result: Result) -> str:
    """The one line of a command that could not run."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("runbook: ")
    assert "Traceback" not in line
    return line


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of its own whose databases' ports nobody listens on."""
    for name in ("parameters", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "secrets").mkdir()
    secret = tmp_path / "secrets/migrator"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD)
    port = free_port()
    change(
        tmp_path / "parameters/inventories/demo.yaml",
        (r"\.runbook/demo/secrets", "secrets"),
        (r"@127\.0\.0\.1:154\d\d", f"@127.0.0.1:{port}"),
    )
    return tmp_path


def change(path: Path, *replacements: tuple[str, str]) -> None:
    text = path.read_text()
    for pattern, replacement in replacements:
        text, count = re.subn(pattern, replacement, text)
        assert count, pattern
    path.write_text(text)


@pytest.fixture
def parameters(project: Path) -> Path:
    return project / "parameters/demo.yaml"


def nothing_left(project: Path) -> bool:
    return not (project / "evidence").exists() and not (project / ".runbook").exists()


@pytest.mark.parametrize("command", ["compare", "assess"])
def test_a_report_that_could_not_be_written_is_refused_before_anything_is_read(command: str, tmp_path: Path):
    line = refused(runbook(command, "postgresql://h/a", "postgresql://h/b", "--json", tmp_path / "none/report.json"))
    assert f"Invalid value for '--json': no folder {tmp_path}/none. Next: runbook {command} --help" in line


# -- plan, inventory, parameters ---


@pytest.mark.parametrize("command", ["lint", "run", "rollback", "status"])
def test_an_unknown_key_of_the_plan_is_named_with_its_line_and_the_nearest_one(
    command: str, project: Path, parameters: Path
):
    plan = project / "parameters/plans/monolith_to_microservices.yaml"
    change(plan, (r"(?m)^strategy:", "stratgy:"))
    number = next(n for n, text in enumerate(plan.read_text().splitlines(), start=1) if text.startswith("stratgy:"))
    line = refused(runbook(command, "-f", parameters))
    assert f"monolith_to_microservices.yaml:{number}: unknown key `stratgy`" in line
    assert "Next: write `strategy`" in line
    assert nothing_left(project)


def test_an_unknown_parameter_is_named_with_its_line(project: Path, parameters: Path):
    change(parameters, (r"(?m)^inventory:", "inventry:"))
    assert re.search(
        r"demo\.yaml:\d+: unknown key `inventry`.*Next: write `inventory`", refused(runbook("lint", "-f", parameters))
    )


def test_an_unknown_option_is_refused_before_anything_starts(project: Path, parameters: Path):
    change(parameters, (r"chunk_rows:", "chunk_row:"))
    line = refused(runbook("run", "-f", parameters))
    assert "option chunk_row: unknown; nothing was started. Next: did you mean `chunk_rows`?" in line
    assert nothing_left(project)


@pytest.mark.parametrize("command", ["lint", "run", "rollback", "status"])
def test_a_missing_parameter_file_names_the_one_that_was_meant(command: str, project: Path):
    line = refused(runbook(command, "-f", project / "parameters/dmo.yaml"))
    assert "no such parameter file" in line
    assert "demo.yaml" in line


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("parameters/plans/monolith_to_microservices.yaml", "no such plan"),
        ("parameters/inventories/demo.yaml", "no such inventory"),
        ("secrets/migrator", "secrets/migrator"),
    ],
)
def test_a_missing_file_is_named(path: str, words: str, project: Path, parameters: Path):
    (project / path).unlink()
    assert words in refused(runbook("run", "-f", parameters))
    assert nothing_left(project)


# -- databases ---


def test_an_unreachable_database_is_named_before_a_run_is_opened(project: Path, parameters: Path):
    line = refused(runbook("run", "-f", parameters))
    assert "database legacy: unreachable at 127.0.0.1" in line
    assert "Next: start the server" in line
    assert nothing_left(project)


def test_a_wrong_password_is_named_and_not_shown(project: Path, parameters: Path, postgresql_server: PostgresServer):
    change(
        project / "parameters/inventories/demo.yaml",
        (r"@127\.0\.0\.1:\d+/\w+", f"@127.0.0.1:{postgresql_server.port}/postgres"),
    )
    line = refused(runbook("run", "-f", parameters))
    assert "database legacy" in line
    assert "password" in line
    assert "Next: " in line
    assert PASSWORD not in line
    assert nothing_left(project)


# -- phases, runs, evidence ---


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--phase", "cut_over"], "did you mean `cutover`?"),
        (["--from", "prepare"], "expected one of preflight, preparation"),
        (["--to", "rollback"], "unknown"),
        (["--from", "cleanup", "--to", "cutover"], "the first comes after the last"),
        (["--phase", "cutover", "--to", "cleanup"], "given together with a range"),
    ],
)
def test_a_phase_that_cannot_be_is_refused(arguments: list[str], words: str, project: Path, parameters: Path):
    assert words in refused(runbook("run", "-f", parameters, *arguments))
    assert nothing_left(project)


def test_a_rollback_without_a_run_says_that_there_is_nothing_to_undo(project: Path, parameters: Path):
    assert "there is nothing to roll back" in refused(runbook("rollback", "-f", parameters))
    assert not (project / "evidence").exists()


def test_status_before_the_first_run_makes_no_journal(project: Path, parameters: Path):
    assert "there is none yet. Next: runbook run" in refused(runbook("status", "-f", parameters))
    assert nothing_left(project)


@pytest.fixture
def run_of_another(project: Path) -> Journal:
    """A run that somebody else is busy with: their phase is under way."""
    (project / ".runbook").mkdir()
    journal = Journal(f"sqlite:///{project}/.runbook/journal.sqlite")
    digest = "cd" * 32
    journal.open_run("run-1", environment="demo", plan_digest=digest, plan_path="plans/p.yaml", actor="ada")
    return journal


def test_an_unknown_run_or_question_is_refused(parameters: Path, run_of_another: Journal):
    assert "no such run" in refused(runbook("status", "run-9", "-f", parameters))
    assert "no such run" in refused(runbook("approve", "run-9", "go", "--comment", "x", "-f", parameters))
    assert 'nothing named "go" is asked for' in refused(
        runbook("approve", "run-1", "go", "--comment", "x", "-f", parameters)
    )
    run_of_another.close()


def test_an_approval_that_is_asked_for_is_given_once(parameters: Path, run_of_another: Journal):
    run_of_another.append("run-1", ApprovalRequested("ab"), phase="cutover", step="go")
    shown = runbook("status", "-f", parameters)
    assert 'waits    the approval of "go".' in shown.stdout
    assert f'Next: runbook approve run-1 "go" -f {parameters} --comment …' in shown.stdout
    given = runbook("approve", "run-1", "go", "--comment", "window is open", "-f", parameters)
    assert (given.exit_code, given.stderr) == (0, "")
    assert run_of_another.approvals("run-1")[0].read(Approval).comment == "window is open"
    assert "the approval of" not in runbook("status", "-f", parameters).stdout
    assert "is asked for" in refused(runbook("approve", "run-1", "go", "--comment", "again", "-f", parameters))
    run_of_another.close()


def test_status_lists_the_environments_own_runs_the_newest_first_and_says_which_databases_did_not_answer(
    parameters: Path, run_of_another: Journal
):
    run_of_another.append("run-1", ApprovalRequested("ab"), phase="cutover", step="go")
    run_of_another.set_state("run-1", "rolled_back")
    for name, environment in (("run-2", "staging"), ("run-3", "demo")):
        run_of_another.open_run(name, environment=environment, plan_digest="ab" * 32, plan_path="p.yaml", actor="eve")
    shown = runbook("status", "-f", parameters)
    assert (shown.exit_code, shown.stderr) == (0, "")
    found = [line for line in shown.stdout.splitlines() if line.startswith("run ")]
    assert [line.partition(";")[0] for line in found] == ["run run-3: open", "run run-1: rolled back"]
    assert "approval" not in shown.stdout, "a run that was rolled back waits for nobody"
    assert "writers  not known: legacy, users_db" in shown.stdout and "unreachable at 127.0.0.1" in shown.stdout
    assert [line for line in shown.stdout.splitlines() if len(line) > 80 and "Next: " not in line] == []
    said = json.loads(runbook("status", "-f", parameters, "--json").stdout)
    assert [(one["run_id"], one["state"]) for one in said] == [("run-3", "open"), ("run-1", "rolled_back")]
    assert said[0]["standing"]["databases"][0]["error"].startswith("unreachable")
    assert said[1]["standing"] is None
    assert "is not of demo" in refused(runbook("status", "run-2", "-f", parameters))
    run_of_another.close()


def test_a_run_of_another_plan_is_not_touched(project: Path, parameters: Path, run_of_another: Journal):
    before = run_of_another.head("run-1")
    assert "was opened with another plan" in refused(runbook("rollback", "-f", parameters))
    assert run_of_another.head("run-1") == before
    assert not (project / "evidence").exists()
    run_of_another.close()


@pytest.mark.parametrize("command", ["verify", "show"])
def test_a_folder_that_is_no_evidence_is_refused(command: str, tmp_path: Path):
    assert "no such" in refused(runbook("evidence", command, tmp_path / "nowhere"))


def test_a_damaged_summary_is_refused(tmp_path: Path):
    (tmp_path / "summary.json").write_text("{")
    assert "is not a run's summary" in refused(runbook("evidence", "show", tmp_path))


def test_evidence_is_verified_and_shown_and_a_change_is_found(evidence: Evidence):
    folder = evidence.phase("preflight", "00_preflight")
    evidence.close()
    good = runbook("evidence", "verify", evidence.bundle)
    assert (good.exit_code, good.stdout.count("ok  "), good.stderr) == (0, 10, "")
    assert RUN in runbook("evidence", "show", evidence.bundle).stdout
    report = folder / "report.json"
    report.write_text(json.dumps(json.loads(report.read_text()) | {"passed": False}))
    bad = runbook("evidence", "verify", evidence.bundle)
    assert bad.exit_code == 1
    assert "was changed after it was signed" in bad.stdout


# -- click's own ---


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dmo"], "No such command 'dmo'"),
        (["demo", "--scal", "1"], "No such option '--scal'"),
        (["demo", "--scale", "big"], "'big' is not a valid float"),
        (["demo", "--scale", "-1"], "not in the range"),
        (["demo", "--rate", "nan"], "'nan' is not a number"),
        (["compare", "a", "b", "--settle", "nan"], "'nan' is not a number"),
        (["demo", "--drill", "fire"], "'fire' is not"),
        (["demo", "--port-base", "80"], "not in the range"),
        (["lint"], "Missing option '-f' / '--file'"),
        (["approve", "a", "b"], "Missing option '--comment'"),
        (["evidence", "verfy", "x"], "No such command 'verfy'"),
    ],
)
def test_a_wrong_word_is_one_line_with_the_help_that_fits(arguments: list[str], words: str):
    line = refused(runbook(*arguments))
    assert words in line
    assert re.search(r"Next: runbook[ \w]* --help$", line)


def test_a_password_in_a_url_is_not_repeated_by_a_refused_command():
    line = refused(runbook("status", "mysql://me:sesame@host/db"))
    assert "mysql://me:***@host/db" in line and "sesame" not in line


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["demo"],
        ["lab"],
        ["lint"],
        ["run"],
        ["rollback"],
        ["status"],
        ["approve"],
        ["evidence"],
        ["evidence", "show"],
    ],
    ids=" ".join,
)
def test_help_is_there_for_every_command(arguments: list[str]):
    for option in ("-h", "--help"):
        result = runbook(*arguments, option)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.startswith(" ".join(["Usage: runbook", *arguments]))


def test_without_a_command_the_help_is_shown_and_the_status_is_2():
    result = runbook()
    assert result.exit_code == 2
    assert "Usage: runbook" in result.stdout


INTERRUPTED = """
import runpy
from runbook_lib.cli.base import Commands
def interrupted(*args, **more):
    exec("raise KeyboardInterrupt")
Commands._status = interrupted
runpy.run_module("runbook_lib.cli", run_name="__main__")
"""


def test_a_command_that_is_interrupted_in_the_making_of_a_class_ends_with_status_2_and_not_by_a_signal(tmp_path: Path):
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    ran = subprocess.run(
        [sys.executable, "-m", "interrupted"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (ran.returncode, ran.stderr) == (2, "runbook: interrupted; run the same command again\n")


INTERRUPTED_EARLY = """
import sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == "runbook_lib.cli.base":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
import runbook_lib.cli
"""


def test_an_interrupt_while_the_commands_are_imported_is_one_line_too():
    ran = subprocess.run([sys.executable, "-c", INTERRUPTED_EARLY], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (2, "runbook: interrupted; run the same command again\n")


def test_version_is_the_packages():
    assert re.fullmatch(r"runbook, version \d+\.\d+\.\d+( \(editable.*\))?\n", runbook("--version").stdout)


def test_a_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("RUNBOOK_TRACEBACK", "1")
    shown = runbook("lint", "-f", tmp_path / "x.yaml")
    assert shown.exit_code == 2, "the status is the same as without it"
    assert "Traceback" in shown.stderr and "no such parameter file" in shown.stderr.splitlines()[-1]


# -- the estate's ports and folder ---


def test_jupyterlabs_port_in_use_is_named_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        line = refused(runbook("lab", "--no-browser", "--port", port))
    assert f"port {port} (JupyterLab): in use by another program; nothing was started" in line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(base: Callable[[], int]):
    line = refused(runbook("demo", "--port-base", base(), "--directory", "/proc/nowhere"))
    assert line.startswith("runbook: /proc/nowhere: ")


@pytest.fixture
def base() -> Callable[[], int]:
    from fix_sandbox import free_port_base

    return free_port_base


@pytest.mark.parametrize("options", ["--tables nothing", "--type odd", "--replicas near"])
def test_a_copy_that_is_refused_leaves_no_empty_file_and_touches_none_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = open_endpoint("source.db", "target", create=True)
    source.execute("CREATE TABLE items (id integer PRIMARY KEY)")
    source.close()
    refused(runbook("copy", "source.db", "target.db", *options.split()))
    assert [path.name for path in tmp_path.iterdir()] == ["source.db"]
    (tmp_path / "target.db").touch()
    refused(runbook("copy", "source.db", "target.db", *options.split()))
    assert (tmp_path / "target.db").exists()

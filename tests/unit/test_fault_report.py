"""What nobody foresaw is one line with status 2, and its report is a file without a secret, for its owner alone."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runbook_lib.util.child_process import why_not_started
from runbook_lib.util.fault_report import is_ours, report_line
from runbook_lib.util.redact import remember

FAULT = """
import sys, threading
from runbook_lib.cli import main
from runbook_lib.util.redact import remember
@main.command()
def fault():
    remember("sesame-open-9")
    raise ZeroDivisionError("at postgresql://ada:hunter22@db/shop, sesame-open-9")
@main.command()
def beside():
    thread = threading.Thread(target=lambda: [].pop())
    thread.start()
    thread.join()
@main.command()
def much():
    for number in range(100_000):
        print("line", number)
main()
"""


def run(*arguments: str, cwd: Path, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FAULT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, **more)  # type: ignore[call-overload, no-any-return]


def test_a_fault_is_one_line_with_status_2_and_its_report_has_no_secret(tmp_path: Path) -> None:
    (tmp_path / ".runbook").mkdir()
    ran = run("fault", "postgresql://ada:hunter22@db", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    ran = run("fault", cwd=tmp_path)
    (line,) = ran.stderr.splitlines()
    assert ran.returncode == 2
    assert line.startswith("runbook: unexpected: ZeroDivisionError: at postgresql://ada:***@db/shop, ***;")
    assert "Next: " in line
    [found] = re.findall(r"the report is in (\S+)\.", line.replace(". Next", ". ")) or [""]
    report = tmp_path / found
    text = report.read_text()
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    assert "Traceback" in text and "ZeroDivisionError" in text
    assert "hunter22" not in text and "sesame-open-9" not in text


def test_a_fault_in_a_thread_is_one_line_too(tmp_path: Path) -> None:
    ran = run("beside", cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)})
    (line,) = ran.stderr.splitlines()
    assert line.startswith("runbook: unexpected: IndexError: pop from empty list;")
    assert [path.name.startswith("fault-") for path in tmp_path.iterdir()] == [True]


def test_a_reader_of_the_output_that_goes_away_hears_nothing_and_a_full_disk_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FAULT, "much"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as writer:
        assert writer.stdout is not None and writer.stderr is not None
        assert writer.stdout.readline() == b"line 0\n"
        writer.stdout.close()
        assert writer.stderr.read() == b""
    assert writer.returncode == 2
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.startswith("runbook: ") and "No space left on device" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_an_error_of_somebodys_own_line_is_not_ours() -> None:
    with pytest.raises(ZeroDivisionError) as theirs:
        _ = 1 / 0
    assert not is_ours(theirs.value)
    with pytest.raises(TypeError) as ours:
        remember(7)  # type: ignore[arg-type]
    assert is_ours(ours.value)


def test_a_report_that_can_be_written_nowhere_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    assert "no report could be written" in report_line(ValueError("odd"))


def test_a_program_that_is_nowhere_is_not_there_whatever_folder_of_path_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = PermissionError(13, "Permission denied")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert why_not_started(refused, "runbook-none") == "No such file or directory"
    (tmp_path / "runbook-none").touch(mode=0o644)
    assert why_not_started(refused, "runbook-none") == "Permission denied"
    assert why_not_started(refused, "/etc/passwd") == "Permission denied"

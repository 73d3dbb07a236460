"""Evidence: verify a folder, or say what a run did."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from runbook_lib.cli.base import PATH, main
from runbook_lib.errors import EvidenceError


@main.group()
def evidence() -> None:
    """Show the evidence of a run, or verify it."""


@evidence.command("verify")
@click.argument("directory", type=PATH)
def verify_evidence(directory: Path) -> None:
    """Verify an evidence folder in ten numbered steps: digests, signatures, chain, order.

    It prints the fingerprint of the key that signed: compare that with one that you were given by another way. The same
    without this library: docs/auditing.md.
    """
    from runbook_lib.evidence.verify import verify_bundle

    steps = verify_bundle(directory)
    for step in steps:
        click.echo(str(step))
    sys.exit(0 if all(step.passed for step in steps) else 1)


@evidence.command("show")
@click.argument("directory", type=PATH)
def show_evidence(directory: Path) -> None:
    """Say what a run did, from its summary."""
    for key, value in _summary(directory / "summary.json").items():
        if isinstance(value, str | int | float):
            click.echo(f"{key:>20}  {value}")
    click.echo(f"{'page':>20}  {directory / 'index.html'}")


def _summary(path: Path) -> dict[str, Any]:
    import json

    action = "give the folder of a finished run: evidence/<environment>/<run_id>"
    try:
        summary = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise EvidenceError(str(path), "no such file", action=action) from error
    except (ValueError, NotADirectoryError, IsADirectoryError) as error:
        raise EvidenceError(str(path), "is not a run's summary", action=action) from error
    if not isinstance(summary, dict):
        raise EvidenceError(str(path), "is not a run's summary", action=action)
    return summary

"""The writers of a followed copy: `runbook cutover`, `runbook return`, `runbook unfollow`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runbook_lib.cli.base import PATH, environment_of, journal_of, main
from runbook_lib.cli.transfer import CAPTURE, CAPTURE_HELP, copies_journal, endpoints, open_both
from runbook_lib.errors import ConfigurationError

if TYPE_CHECKING:
    from runbook_lib.operations.predict_cutover import CutoverPrediction
    from runbook_lib.operations.replicate import Switch
    from runbook_lib.transfer.cutover import CutoverResult
    from runbook_lib.transfer.writers import Side

BY_HAND = "none"
SHOWN = 20  # rows that the other side would refuse
_PAUSE = "Longer, and everything is put back."
_SWITCH = "Command that sends the applications to the {}, run inside the pause; `none`: you move them by hand."
_DRY_RUN = "Only say what would happen, and which rows would not fit."
_FILE = "Parameter file whose inventory names them; alone: of a run."
_YES = "Do not ask: as `--switch none` where no --switch is given."


def _moving(to: str) -> Callable[[Any], Any]:
    """The arguments of both commands."""

    def decorated(command: Any) -> Any:
        for decorate in (
            click.option("--yes", is_flag=True, help=_YES),
            click.option("--leave-quarantined", is_flag=True, help="Quarantined rows may stay behind."),
            click.option("--dry-run", is_flag=True, help=_DRY_RUN),
            click.option("--switch-back", default="", help="Command that undoes --switch."),
            click.option("--switch", default="", metavar="CMD|none", help=_SWITCH.format(to)),
            click.option("--max-write-pause", default="2s", show_default=True, help=_PAUSE),
            click.option("-f", "--file", "file", type=PATH, help=_FILE),
            click.argument("target", default=""),
            click.argument("source", default=""),
        ):
            command = decorate(command)
        return command

    return decorated


@main.command()
@_moving("target")
@click.option("--capture", type=CAPTURE, default=None, help=CAPTURE_HELP.format("target"))
def cutover(source: str, target: str, file: Path | None, **how: Any) -> None:
    """Move the writers of a followed copy to the target, within the write pause or not at all.

    Before the fence are compared: what changed since the copy (a column, an index, a table, a view, a sequence, a
    partition), rows in quarantine, and row counts; differences are named, and nobody is moved. Without --switch it
    shows what would happen and asks; where nobody can be asked it refuses. With `--switch none` you move the
    applications by hand, and their writes at the source are rejected until then.

    With -f FILE --dry-run alone it looks at the open run of that parameter file, whose phase 04_cutover moves them.
    """
    from runbook_lib.transfer.writers import Side

    _carry_out(_Move("cutover", source, target, file, Side.TARGET), **how)


@main.command("return")
@_moving("source")
def return_(source: str, target: str, file: Path | None, **how: Any) -> None:
    """Move the writers back to the source, with every write that the target took; compares and asks like cutover."""
    from runbook_lib.transfer.writers import Side

    _carry_out(_Move("return", source, target, file, Side.SOURCE), **how)


@main.command()
@endpoints
def unfollow(source: str, target: str, file: Path | None) -> None:
    """End the following of a copy for good: capture is removed at both databases, and with it the rollback path.

    That is triggers and logs, or slot and publication.
    """
    from runbook_lib.operations.pair import pair_of
    from runbook_lib.operations.replicate import find_clone, leave
    from runbook_lib.transfer.writers import Side

    with open_both(source, target, file) as (reader, writer), copies_journal(must_exist=True) as journal:
        pair, run_id = find_clone(journal, pair_of(reader, writer))
        side = leave(pair, journal, run_id)
    other = Side.SOURCE if side is Side.TARGET else Side.TARGET
    click.echo(f"nothing is captured any more; the {side} has the writes, the {other} stays fenced")


class _Move:
    """One command, as it was typed, and what it says."""

    def __init__(self, name: str, source: str, target: str, file: Path | None, to: Side) -> None:
        self.name, self.source, self.target, self.file, self.to = name, source, target, file, to
        self.leaves = "source" if str(to) == "target" else "target"

    def command(self, name: str, *more: str) -> str:
        """Another command on the same two, without a secret."""
        from runbook_lib.util.redact import mask

        file = ("-f", str(self.file)) if self.file else ()
        return mask(shlex.join(["runbook", name, self.source, self.target, *file, *more]))


def _carry_out(
    move: _Move,
    max_write_pause: str,
    switch: str,
    switch_back: str,
    dry_run: bool,
    yes: bool,
    leave_quarantined: bool,
    capture: str | None = None,
) -> None:
    if not move.target:
        _of_a_run(move, dry_run=dry_run)
        return
    from runbook_lib.operations.pair import pair_of
    from runbook_lib.operations.predict_cutover import predict_switchover
    from runbook_lib.operations.replicate import disagreements_of, find_clone
    from runbook_lib.operations.replicate import move as move_writers
    from runbook_lib.transfer.writers import Side

    budget_s, commands = _budget(max_write_pause), _switch(switch, switch_back)
    unsaid = not (switch or yes or dry_run)
    if unsaid and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise _unattended(move)
    both = open_both(move.source, move.target, move.file, capture={"target": capture})
    with both as (reader, writer), copies_journal(must_exist=True) as journal:
        pair, run_id = find_clone(journal, pair_of(reader, writer))
        if dry_run or unsaid:
            what = f"{pair.source.name} to {pair.target.name}"
            if pair.writers().require(what, Side.SOURCE, Side.TARGET, Side.BETWEEN) is move.to:
                click.echo(f"the {move.to} has the writes already")
                return
            seen = predict_switchover(pair, move.to)
            for line in _prediction_lines(move, seen, budget_s, switch):
                click.echo(line)
            differ = disagreements_of(pair, journal, run_id, move.to, leave_quarantined=leave_quarantined)
            for one in differ:
                click.echo(f"differs: {one.text}\n  Next: {one.action}")
            if dry_run:
                sys.exit(0 if seen.fits(budget_s) and not differ else 1)
            if not click.confirm(f"Fence the {move.leaves} now, and move the applications by hand?"):
                click.echo("nothing was fenced or moved")
                sys.exit(2)
        how: dict[str, Any] = {"budget_s": budget_s, "leave_quarantined": leave_quarantined, "tell": click.echo}
        result = move_writers(pair, journal, run_id, move.to, commands, **how)
    if result is None:
        click.echo(f"the {move.to} has the writes already")
        return
    _report_move(move, result, by_hand=not commands.there)


def _of_a_run(move: _Move, *, dry_run: bool) -> None:
    """What the cutover of the environment's open run would do.

    Raises:
        ConfigurationError: there is no such run, or it is not only asked.
    """
    if move.source or move.file is None or move.name != "cutover":
        raise click.UsageError("SOURCE and TARGET of a followed copy, or of a run's cutover -f FILE --dry-run")
    if not dry_run:
        raise ConfigurationError(
            f"runbook cutover -f {move.file}",
            "a run's writers are moved by its phase, with its gates and evidence",
            state="nothing was fenced or moved",
            action=f"runbook run -f {move.file} --phase cutover; --dry-run here shows what it would do",
        )
    from runbook_lib.config.options import read_options
    from runbook_lib.run.context import RunContext
    from runbook_lib.steps.predict_run import predict_run

    environment = environment_of(move.file)
    with journal_of(move.file) as journal:
        row = journal.latest_run(environment.name, states=("open",))
        if row is None:
            raise ConfigurationError(
                f"runbook cutover -f {move.file}", "no run of it is open", action=f"runbook run -f {move.file}"
            )
        with RunContext(environment, "cutover", row.run_id, journal, read_options(environment.options)) as run:
            seen = predict_run(run)
    for line in seen.lines():
        click.echo(line)
    sys.exit(0 if seen.ready else 1)


def _budget(text: str) -> float:
    from runbook_lib.plan.units import seconds

    budget_s = seconds(text)
    if not budget_s:
        raise click.UsageError(f"--max-write-pause {text}: not a duration, such as 2s or 500ms")
    return budget_s


def _switch(there: str, back: str) -> Switch:
    from runbook_lib.operations.replicate import Switch

    if back and there in ("", BY_HAND):
        raise click.UsageError("--switch-back: there is no --switch that it could undo")
    commands: list[list[str]] = []
    for option, text in (("--switch", "" if there == BY_HAND else there), ("--switch-back", back)):
        try:
            commands.append(shlex.split(text))
        except ValueError as error:
            raise click.UsageError(f"{option}: {error}") from error
    return Switch(commands[0], commands[1])


def _unattended(move: _Move) -> ConfigurationError:
    return ConfigurationError(
        f"runbook {move.name}",
        f"no --switch is given, and nobody is there to be asked: the {move.leaves} would reject the applications'"
        " writes until somebody moves them",
        state="nothing was fenced or moved",
        action=f"--switch CMD moves them to the {move.to} inside the write pause; --switch none (or --yes) says that"
        " you move them by hand; --dry-run shows what would happen",
    )


def _prediction_lines(move: _Move, seen: CutoverPrediction, budget_s: float, switch: str) -> Iterator[str]:
    """What is known before, what happens then, and what to run afterwards; 80 columns, but for commands."""
    from runbook_lib.util.text import counted

    predicted = seen.predicted.total_s * 1000
    yield f"{move.name}: the writers go to the {move.to}"
    yield f"  writers now  {seen.writers.side}"
    for fences in (seen.writers.source, *seen.writers.targets):
        yield f"               {fences}"
    one = seen.waiting.keys == 1
    keys = f"{counted(seen.waiting.keys, 'key')} wait{'s' if one else ''}"
    yield f"  waiting      {keys} to be synced{' back' if move.name == 'return' else ''},"
    yield f"               the oldest for {seen.waiting.oldest_s:.1f} s"
    yield f"  write pause  about {predicted:,.0f} ms predicted, {budget_s * 1000:,.0f} allowed"
    yield f"  rows         {counted(len(seen.refused), 'row')} would not fit the {move.to}"
    for row in seen.refused[:SHOWN]:
        yield f"    {row.table} ({', '.join(map(str, row.key))}): {row.reason}"
    yield "what happens:"
    yield f"  1. the {move.leaves} rejects writes (SQLSTATE RB001); reads continue"
    yield "  2. the last keys are synced and compared, the sequences are set"
    command = switch if switch not in ("", BY_HAND) else "nothing: you move the applications by hand"
    yield f"  3. the switch: {command}"
    yield f"  4. the {move.to} takes writes; the {move.leaves} still rejects them"
    yield "past the allowed pause, or where something fails, all is put back as it was"
    yield "afterwards:"
    yield from _afterwards(move, by_hand=switch in ("", BY_HAND))


def _afterwards(move: _Move, *, by_hand: bool) -> Iterator[str]:
    if by_hand:
        yield f"  point the applications at the {move.to} now: the {move.leaves} rejects their"
        yield "  writes with SQLSTATE RB001 until then"
    if move.name == "cutover":
        yield "  keep the source current, which keeps the rollback path open:"
        yield f"    {move.command('copy', '--follow')}"
        yield "  and go back, should it be needed:"
        yield f"    {move.command('return', '--switch', 'CMD')}"
    else:
        yield "  keep the target current until the next cutover:"
        yield f"    {move.command('copy', '--follow')}"
    yield "  where things stand:"
    yield "    runbook status"


def _report_move(move: _Move, result: CutoverResult, *, by_hand: bool) -> None:
    click.echo(
        f"write pause {result.pause_s * 1000:.0f} ms (predicted {result.predicted.total_s * 1000:.0f}, allowed"
        f" {result.budget_s * 1000:.0f}); {result.drained_keys} last keys, {result.sequences} sequences"
    )
    if move.name == "cutover":
        click.echo("the target has the writes; the source is fenced. Next:")
    else:
        click.echo("the source has the writes again, with all that the target took;")
        click.echo("the target is fenced. Next:")
    for line in _afterwards(move, by_hand=by_hand):
        click.echo(line)

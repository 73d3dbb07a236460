"""What every command shares: the group, how mistakes are said, common options, the environment and its journal.

What somebody can put right is one line on the standard error, never a traceback. What nobody foresaw is one line too,
with the file that has its report; RUNBOOK_TRACEBACK=1 shows the traceback all the same.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from runbook_lib.errors import ConfigurationError, RunbookError
from runbook_lib.util import extras
from runbook_lib.util.redact import mask

if TYPE_CHECKING:
    from runbook_lib.config.environment import Environment
    from runbook_lib.journal import Journal

COULD_NOT_RUN = 2
INTERRUPTED = "interrupted; run the same command again"
RESUMES = "what was committed stays, and the same command resumes"
_ACTIONS = {errno.ENOSPC: "make room on that disk", errno.ENOENT: "see that the folder exists"}


class Number(click.FloatRange):
    """A number within a range; click lets NaN pass, which is within every range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        return number if number == number else self.fail(f"{value!r} is not a number.", param, ctx)


class Commands(click.Group):
    """Says every mistake in one line, click's own too, with the exit status that belongs to it."""

    def main(self, *args: Any, **more: Any) -> NoReturn:
        """Run the command line and exit; the arguments are click's."""
        for stream in (sys.stdout, sys.stderr):  # no character of a name or a message is one that cannot be shown
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            with _report_unraisable():
                status = self._status(*args, **more)
        except KeyboardInterrupt as error:  # a second one, while the first was being answered
            status = _say(INTERRUPTED, error)
        except SystemExit as asked:
            status = asked.code if isinstance(asked.code, int) else 0 if asked.code is None else COULD_NOT_RUN
        sys.exit(_flushed(status))

    def invoke(self, ctx: click.Context) -> Any:
        """The command; click would answer a reader of the output that has gone with status 1, "a check failed"."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _Unwritten from error

    def _status(self, *args: Any, **more: Any) -> int:
        try:
            more["standalone_mode"] = False
            with _sigterm_as_interrupt():
                status = super().main(*args, **more)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
        except RunbookError as error:
            _say(str(error), error)
            return error.exit_status
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "runbook"
            text = error.format_message().rstrip(".")
            _say(f"{text}{'' if text.endswith('?') else '.'} Next: {command} --help", error)
        except click.ClickException as error:
            _say(error.format_message(), error)
        except (KeyboardInterrupt, click.Abort) as error:
            _say(INTERRUPTED, error)
        except _Unwritten:
            return COULD_NOT_RUN  # `runbook … | head`: who reads no more wants to hear no more
        except OSError as error:  # a folder that may not be written, a full disk: the operator's to put right
            action = _ACTIONS.get(error.errno or 0, "give this user the right to it, or name another one")
            _say(f"{error.filename or 'the system'}: {error.strerror or error}. Next: {action}", error)
        except Exception as error:
            explained = extras.explain(error, state=RESUMES)
            _say(str(explained), error) if explained else _fault(error)
        else:
            return status if isinstance(status, int) else 0
        return COULD_NOT_RUN


class _Unwritten(Exception):
    """Nobody reads the output any more."""


@contextmanager
def _report_unraisable() -> Iterator[None]:
    """Errors of threads and of objects at their end: one line as well, or, of the latter, none."""
    before = threading.excepthook, sys.unraisablehook

    def in_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is not None and not isinstance(failed.exc_value, SystemExit):
            _fault(failed.exc_value)

    def unraisable(failed: sys.UnraisableHookArgs) -> None:
        if os.environ.get("RUNBOOK_TRACEBACK"):
            before[1](failed)

    threading.excepthook, sys.unraisablehook = in_thread, unraisable
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = before


def _flushed(status: int) -> int:
    """What is still to be written is written; where that cannot be done, the status says so and Python's end is silent.

    A closed pipe is not spoken of: its reader has what it wanted.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError) as error:
            _discard(stream)
            if stream is sys.stdout and not isinstance(error, BrokenPipeError):
                _say(f"standard output: {getattr(error, 'strerror', None) or error}. Next: see where it goes", error)
            status = status or COULD_NOT_RUN
    return status


def _discard(stream: Any) -> None:
    """What the stream still holds goes nowhere, so that Python does not try, and complain, once more at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _fault(error: BaseException) -> int:
    from runbook_lib.util.fault_report import report_line

    return _say(report_line(error), error)


def _say(text: str, error: BaseException) -> int:
    if os.environ.get("RUNBOOK_TRACEBACK"):  # beside the line, and with the same exit status: raised, it would be 1
        traceback.print_exception(error)
    with suppress(OSError, ValueError):  # a standard error that is closed hears nothing
        click.echo(f"runbook: {mask(' '.join(text.split()))}", err=True)  # click repeats arguments, URLs too
    return COULD_NOT_RUN


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """CI ends a job with SIGTERM: everything is stopped in order, as at Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:  # a command that has ended in order wants no more
            signal.signal(signal.SIGTERM, before)


def _version(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from runbook_lib.util.version import version_text

        click.echo(f"runbook, version {version_text()}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version and exit."
)
def main() -> None:
    """Migration runbooks that are notebooks."""


PATH: Any = click.Path(path_type=Path)


class NewFile(click.Path):
    """A file to be written: that this cannot be done is said before hours of work, not after them."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        place: Any = super().convert(value, param, ctx)
        if not place.absolute().parent.is_dir():
            self.fail(f"no folder {place.parent}", param, ctx)
        there = place.exists()
        try:
            place.open("a").close()
        except OSError as error:
            self.fail(f"{place}: {error.strerror}", param, ctx)
        if not there:
            place.unlink()
        return place


FILE = click.option("-f", "--file", "file", required=True, type=PATH, help="Parameter file of the environment.")
DEMO = click.option(
    "-f",
    "--file",
    "file",
    default="parameters/demo.yaml",
    type=PATH,
    show_default=True,
    help="Parameter file of the environment.",
)


def listed(text: str) -> tuple[str, ...]:
    """The names of a list with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def names_in(text: str | None, option: str = "--tables") -> tuple[str, ...]:
    """The names that an option lists; of one that was not given, none.

    Raises:
        ConfigurationError: given, and empty, as of a shell's variable that is not set: that is not "all".
    """
    found = listed(text or "")
    if text is not None and not found:
        raise ConfigurationError(option, "names nothing", action=f"leave {option} out to mean all")
    return found


def environment_of(file: Path) -> Environment:
    """The environment of a parameter file: its name is the file's, its root two folders up; its options are known."""
    from runbook_lib.config.environment import load_environment_file
    from runbook_lib.config.options import read_options

    environment = load_environment_file(file)
    read_options(environment.options)
    return environment


@contextmanager
def journal_of(file: Path) -> Iterator[Journal]:
    """The environment's journal; reading it does not make one."""
    from runbook_lib.journal import Journal

    environment = environment_of(file)
    url = environment.journal_url
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:") and not path.exists():
        raise ConfigurationError(f"journal {path}", "there is none yet", action=f"runbook run -f {file}")
    try:
        secrets = environment.secrets()
    except RunbookError:  # who approves need not be able to read them
        secrets = ()
    with closing(Journal(url, secrets=secrets)) as journal:
        yield journal

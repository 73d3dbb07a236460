"""The tunables of a run: every name, its unit and its default. A new one is a field here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from runbook_lib.errors import ConfigurationError
from runbook_lib.plan import keys
from runbook_lib.plan.model import Phase


@dataclass(frozen=True)
class Options:
    """What may be tuned without changing the plan; None means: as the plan says.

    Attributes:
        chunk_rows: Rows copied in one transaction (count).
        jobs: Tables or ranges worked on at a time (count).
        batch_keys: Keys read and applied in one batch of the sync (count).
        lock_timeout_s: How long a statement waits for a lock before it steps back and tries again (seconds).
        max_write_pause_s: Longest write pause of the cutover (seconds).
        watch_s: How long the rollback triggers are watched (seconds).
        after_s: Time between cutover and cleanup (seconds).
        sample_rows: Rows that the data sample compares in each table (count).
        settle_s: How long a mismatch may take to vanish while writes continue (seconds).
        resume_within_s: How old may be what an interrupted comparison has read, to be taken over (seconds).
        step_watch_s: The same for each move of reads (seconds).
        monitor_s: How long a rolling upgrade monitors each batch (seconds).
        baseline_s: How long the baseline is measured (seconds).
        min_requests: Requests in a window that a trigger needs to judge it (count).
        floor_ms: A response time below this is never slow, whatever the baseline (milliseconds).
        small_enough_keys: Pending keys that a cutover may begin with, and that a comparison may leave open (count).
        switch_s: How long the router takes to switch, for the prediction of the write pause (seconds).
        batch_share: The part of the time that a revision's statement in batches may work (above 0, at most 1).
        keep_backups: Backups of a database that stay; the last one that was proven always does (count).
        throttle_file: Copy, sync and batches wait while this file exists (below the project's folder; empty: no file).
        source_sessions: More sessions at work at the source than these, and they wait (count; 0: not checked).
        target_sessions: The same at the targets (count).
        replica_lag_s: They wait while a replica is farther behind (seconds; 0: not checked).
        replica_lag_bytes: The same in bytes of PostgreSQL's log (count).
        replicas: Databases of the inventory that are such replicas (names, separated by commas); replicas that are
            connected to a PostgreSQL source or target are seen without being named.
        lease_ttl_s: A run whose operator is silent for so long may be taken over (seconds).
    """

    chunk_rows: int = 50_000
    jobs: int = 2
    batch_keys: int = 2_000
    lock_timeout_s: float = 0.5
    max_write_pause_s: float | None = None
    watch_s: float | None = None
    after_s: float | None = None
    sample_rows: int = 1_000
    settle_s: float = 5.0
    resume_within_s: float = 14_400.0
    step_watch_s: float | None = None
    monitor_s: float | None = None
    baseline_s: float = 10.0
    min_requests: int = 20
    floor_ms: float = 25.0
    small_enough_keys: int = 100
    switch_s: float = 0.1
    batch_share: float = 0.5
    keep_backups: int = 3
    throttle_file: str = ".runbook/throttle"
    source_sessions: int = 0
    target_sessions: int = 0
    replica_lag_s: float = 0.0
    replica_lag_bytes: int = 0
    replicas: str = ""
    lease_ttl_s: float = 30.0


def carried_out(phase: Phase, options: Options) -> Phase:
    """The phase as it is carried out: where an option is given for a key of it, the option wins (`plan.keys`)."""
    given = asdict(options)
    found = {k.attribute: given[k.options[phase.name]] for k in keys.PHASE.keys if phase.name in k.options}
    return replace(phase, **{name: value for name, value in found.items() if value is not None})


_AT_LEAST_ONE = ("chunk_rows", "jobs", "batch_keys", "sample_rows", "keep_backups", "lease_ttl_s")


def read_options(values: Mapping[str, Any]) -> Options:
    """Check the options of a parameter file or a notebook.

    Raises:
        ConfigurationError: an unknown name (with the nearest known one), or a value of another type or range.
    """
    kinds = {field.name: str(field.type) for field in fields(Options)}
    for name, value in values.items():
        if name not in kinds:
            near = get_close_matches(name, kinds, 1)
            action = f"did you mean `{near[0]}`?" if near else f"known options: {', '.join(kinds)}"
            raise ConfigurationError(f"option {name}", "unknown", state="nothing was started", action=action)
        _check(name, value, kinds[name])
    return Options(**values)


def _check(name: str, value: Any, kind: str) -> None:
    if value is None and "None" in kind:
        return
    if kind == "str":
        if not isinstance(value, str):
            raise ConfigurationError(f"option {name}", f"{value!r}", expected="a text", state="nothing was started")
        return
    number = isinstance(value, int) or (isinstance(value, float) and "float" in kind)
    lowest = 1 if name in _AT_LEAST_ONE else 0
    if name == "batch_share" and number and not isinstance(value, bool):
        if not 0 < value <= 1:
            expected = "a share above 0 and at most 1"
            raise ConfigurationError(f"option {name}", f"{value!r}", expected=expected, state="nothing was started")
        return
    if not number or isinstance(value, bool) or not lowest <= value < float("inf"):
        unit = "seconds" if name.endswith("_s") and "rows" not in name else "count"
        expected = f"a {'whole ' if 'float' not in kind else ''}number of at least {lowest} ({unit})"
        raise ConfigurationError(f"option {name}", f"{value!r}", expected=expected, state="nothing was started")

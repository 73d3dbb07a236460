"""Numbers for rollback triggers from elsewhere: Prometheus, a database, JSON over HTTP.

Each is a probe: it answers a verdict whose data are the `value` and `at`, its time (seconds since the epoch). What
cannot be read, is no number, or is of no known time is *could not run*: it never counts as a good or a bad reading.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from runbook_lib.config.environment import Environment
from runbook_lib.errors import ConfigurationError
from runbook_lib.monitoring.probes import Probe
from runbook_lib.plan.model import Trigger
from runbook_lib.util.http import fetch
from runbook_lib.util.prometheus import instant, json_of
from runbook_lib.verdict import Outcome, Verdict

_TIMEOUT_S = 5.0
_MILLISECONDS = 1e11  # a time above it is in milliseconds: in seconds it would be of the year 5138


def probe_of(trigger: Trigger, environment: Environment) -> Probe:
    """What asks the trigger's source once; `RunbookError` where it does not answer with a number."""
    ask: Callable[[], tuple[Any, Any]] = {
        "prometheus": lambda: _prometheus(trigger, environment.inventory.metrics),
        "sql": lambda: _sql(trigger, environment),
        "http": lambda: _http(trigger),
    }[trigger.source]

    def answer() -> Verdict:
        value, at = ask()
        found = {"value": _number(trigger, value), "at": _time(trigger, at)}
        return Verdict(Outcome.PASS, f"{found['value']:g}", found)

    return answer


def _prometheus(trigger: Trigger, settings: Mapping[str, Any]) -> tuple[Any, Any]:
    # With its own look-back Prometheus answers for five minutes with the last value of what is gone.
    return instant(str(settings["url"]), trigger.query, _subject(trigger), lookback_s=trigger.window_s)


def _sql(trigger: Trigger, environment: Environment) -> tuple[Any, Any]:
    with closing(environment.database(trigger.database)) as database:
        rows = list(database.rows(trigger.query))
    if len(rows) != 1 or len(rows[0]) not in (1, 2):
        raise _unmeasured(trigger, f"the query gives {len(rows)} rows; expected one, of a number and perhaps its time")
    value, at = (*rows[0], None)[:2]
    return value, time.time() if len(rows[0]) == 1 else at


def _http(trigger: Trigger) -> tuple[Any, Any]:
    answer = json_of(fetch(trigger.url, timeout_s=_TIMEOUT_S), _subject(trigger))
    return _at(trigger, answer, trigger.value), _at(trigger, answer, trigger.at) if trigger.at else time.time()


def _at(trigger: Trigger, answer: Any, path: str) -> Any:
    """What stands there: `queue.depth`, `items.0.size`."""
    for part in path.split("."):
        if isinstance(answer, list) and part.isdigit() and int(part) < len(answer):
            answer = answer[int(part)]
        elif isinstance(answer, dict) and part in answer:
            answer = answer[part]
        else:
            raise _unmeasured(trigger, f"the answer has no `{path}`")
    return answer


def _number(trigger: Trigger, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise _unmeasured(trigger, f"`{str(value)[:40]}` is not a number")
    return number


def _time(trigger: Trigger, at: Any) -> float:
    if isinstance(at, str) and not at.replace(".", "", 1).isdigit():
        try:
            moment = datetime.fromisoformat(at)
        except ValueError as error:
            raise _unmeasured(trigger, f"`{at[:40]}` is not a time") from error
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    seconds = _number(trigger, at)
    return seconds / 1000 if seconds > _MILLISECONDS else seconds


def _unmeasured(trigger: Trigger, observed: str) -> ConfigurationError:
    return ConfigurationError(_subject(trigger), observed)


def _subject(trigger: Trigger) -> str:
    return f"{trigger.source} {trigger.metric}"

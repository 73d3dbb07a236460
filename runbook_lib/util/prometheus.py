"""One value of Prometheus: an instant query over its HTTP API, which is to give one number."""

from __future__ import annotations

import json
import math
import urllib.parse
from typing import Any

from runbook_lib.errors import ConfigurationError
from runbook_lib.util.http import Response, fetch

_TIMEOUT_S = 5.0


def instant(url: str, query: str, subject: str, *, lookback_s: float | None = None) -> tuple[Any, Any]:
    """The value of a query now, and its time, as Prometheus writes them.

    Args:
        url: Prometheus' address.
        subject: What the query is for, of the errors.
        lookback_s: How old a sample may be (seconds); None: Prometheus' own five minutes.
    Raises:
        ConfigurationError: no answer, no JSON, an error of Prometheus, or none or several values.
    """
    asked = {"query": query} | ({} if lookback_s is None else {"lookback_delta": f"{math.ceil(lookback_s)}s"})
    reply = fetch(f"{url.rstrip('/')}/api/v1/query?{urllib.parse.urlencode(asked)}", timeout_s=_TIMEOUT_S)
    answer = json_of(reply, subject)
    data = answer.get("data") if isinstance(answer, dict) and answer.get("status") == "success" else None
    if not isinstance(data, dict):
        words = answer.get("error", answer) if isinstance(answer, dict) else answer
        raise ConfigurationError(subject, f"Prometheus: {str(words)[:200]}")
    kind, found = data.get("resultType"), data.get("result")
    if kind == "vector" and isinstance(found, list):
        if len(found) > 1:
            raise ConfigurationError(subject, f"Prometheus has {len(found)} series, expected one: aggregate them")
        if not found:
            raise ConfigurationError(subject, "Prometheus has no value in the window", expected="one value")
        found = found[0].get("value")
    if kind not in ("vector", "scalar") or not isinstance(found, list) or len(found) != 2:
        words = f"Prometheus answers a {kind}; expected an instant vector or a scalar"
        raise ConfigurationError(subject, words)
    return found[1], found[0]


def json_of(reply: Response, subject: str) -> Any:
    """The JSON of an answer, also of an error's that says why. Raises ConfigurationError when there is none."""
    try:
        answer = json.loads(reply.body)
    except ValueError:
        answer = None
    if answer is None or (reply.status >= 400 and not (isinstance(answer, dict) and "error" in answer)):
        raise ConfigurationError(subject, f"HTTP {reply.status}, expected JSON: {reply.text(100)}")
    return answer

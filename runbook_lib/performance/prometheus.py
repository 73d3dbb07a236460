"""Processor and memory from Prometheus, for what runs elsewhere; the inventory says what to ask.

metrics:
  kind: prometheus
  url: http://prometheus:9090
  queries:
    cpu_share: {old: 'sum(rate(process_cpu_seconds_total{job="old"}[1m]))', new: '…{job="new"}…'}
    memory_bytes: {old: '…', new: '…'}
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from runbook_lib.errors import ConfigurationError
from runbook_lib.util.prometheus import instant

FRESH_S = 60.0  # a value that was scraped before is no measurement of now


def ask(url: str, query: str) -> float:
    """The value of a query now.

    Raises:
        ConfigurationError: no answer, none or several values, no number, or one that is older than a minute.
    """
    subject = f"prometheus {url}"
    age = f"time() - timestamp({query})"
    value = _one(subject, url, query)
    try:
        old_s = _one(subject, url, age)
    except ConfigurationError:
        old_s = 0.0  # `timestamp` takes a series only; of what is computed Prometheus drops what is stale by itself
    if old_s > FRESH_S:
        raise ConfigurationError(subject, f"the value of {query} is {old_s:.0f} s old", expected="a minute at most")
    return value


def _one(subject: str, url: str, query: str) -> float:
    text, _ = instant(url, query, f"{subject}: {query}", lookback_s=FRESH_S)  # of what is computed, too
    try:
        value = float(text)
    except (TypeError, ValueError):
        action = "let the query in `metrics:` give one number"
        raise ConfigurationError(subject, f"{query}: {text}", expected="one value", action=action) from None
    if not math.isfinite(value):
        raise ConfigurationError(subject, f"{query} is {value}", expected="a number")
    return value


def gauges(settings: Mapping[str, object], side: str) -> dict[str, float]:
    """What the inventory's queries say of one side: metric → value; a metric without a query is not in it."""
    queries = settings.get("queries")
    asked = {m: q[side] for m, q in queries.items() if side in q} if isinstance(queries, Mapping) else {}
    return {metric: ask(str(settings["url"]), query) for metric, query in asked.items()}

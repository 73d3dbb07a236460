"""Smoke tests: the few requests that must work for the service to count as working."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runbook_lib.errors import ConfigurationError, PlanError
from runbook_lib.util.http import fetch
from runbook_lib.verdict import Outcome, Verdict


@dataclass(frozen=True)
class SmokeRequest:
    """One request and what its answer must look like.

    Attributes:
        path: With its leading slash.
        status: The expected HTTP status.
        keys: Keys that the JSON answer must have at its top level.
        headers: Header (lower case) → value that the answer must carry, e.g. `x-served-by`.
        timeout_s: Slower than this is a failure (seconds).
    """

    path: str
    name: str = ""
    status: int = 200
    keys: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 5.0


def smoke_requests(entries: Sequence[Mapping[str, Any] | str], source: str = "smoke") -> tuple[SmokeRequest, ...]:
    """Smoke requests from a workload file or inventory: `/path`, or a mapping with SmokeRequest's fields.

    Raises:
        PlanError: an unknown key, or no path; `source` names where.
    """
    requests = []
    for number, entry in enumerate(entries, 1):
        settings = {"path": entry} if isinstance(entry, str) else dict(entry)
        if unknown := sorted(settings.keys() - SmokeRequest.__dataclass_fields__.keys()):
            known = ", ".join(SmokeRequest.__dataclass_fields__)
            raise PlanError(f"{source}: request {number}", f"unknown key {unknown[0]!r}", expected=known)
        if not str(settings.get("path", "")).startswith("/"):
            raise PlanError(f"{source}: request {number}", "has no path", expected="path: /something")
        requests.append(SmokeRequest(**{**settings, "keys": tuple(settings.get("keys", ()))}))
    return tuple(requests)


def smoke(base_url: str, requests: Sequence[SmokeRequest]) -> Verdict:
    """Send each request, all of them even when one fails, and say which failed and how.

    Returns:
        Verdict: fail names each wrong or missing answer; could_not_run when no request is defined.
    """
    if not requests:
        return Verdict(Outcome.COULD_NOT_RUN, "no smoke requests are defined")
    results = [_ask(base_url.rstrip("/"), request) for request in requests]
    data = {"url": base_url, "requests": results}
    failed = [f"{result['name']}: {result['problem']}" for result in results if result["problem"]]
    if not failed:
        slowest = max(result["elapsed_ms"] for result in results)
        return Verdict(Outcome.PASS, f"{len(results)} smoke tests passed, slowest {slowest:.0f} ms", data)
    return Verdict(Outcome.FAIL, f"{len(failed)} of {len(results)} smoke tests failed: {'; '.join(failed)}", data)


def _ask(base_url: str, request: SmokeRequest) -> dict[str, Any]:
    result: dict[str, Any] = {"name": request.name or request.path, "path": request.path, "status": None}
    try:
        answer = fetch(base_url + request.path, timeout_s=request.timeout_s)
    except ConfigurationError as error:
        return {**result, "elapsed_ms": 0.0, "problem": error.observed}
    problem = ""
    if answer.status != request.status:
        problem = f"HTTP {answer.status}, expected {request.status}"
    elif answer.elapsed_ms > request.timeout_s * 1000:
        problem = f"{answer.elapsed_ms:.0f} ms, expected under {request.timeout_s * 1000:.0f} ms"
    elif wrong := [f"{k}: {answer.headers.get(k)}" for k, v in request.headers.items() if answer.headers.get(k) != v]:
        problem = f"header {wrong[0]}, expected {request.headers}"
    elif request.keys:
        problem = _missing_keys(answer.body, request.keys)
    return {**result, "status": answer.status, "elapsed_ms": round(answer.elapsed_ms, 2), "problem": problem}


def _missing_keys(body: bytes, keys: Sequence[str]) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        return "not JSON"
    if not isinstance(document, dict):
        return f"a JSON {type(document).__name__}, expected an object"
    missing = [key for key in keys if key not in document]
    return f"lacks {', '.join(missing)}" if missing else ""

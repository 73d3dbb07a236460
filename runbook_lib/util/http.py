"""One HTTP request with a time limit: health, smoke tests, a router's admin interface, webhooks."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field

from runbook_lib.errors import ConfigurationError
from runbook_lib.util.redact import mask

# A proxy from the environment would answer for services on this machine; only webhooks may want one.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Response:
    """What was answered, whatever the status. `elapsed_ms`: from connecting to the last byte (milliseconds)."""

    status: int
    body: bytes
    elapsed_ms: float
    headers: Mapping[str, str] = field(default_factory=dict)

    def text(self, limit: int = 200) -> str:
        """The start of the body on one line (at most `limit` characters), secrets masked."""
        return mask(" ".join(self.body.decode(errors="replace").split()))[:limit]


def fetch(
    url: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 5.0,
    use_proxy: bool = False,
) -> Response:
    """Send one request and return the answer, also when its status is an error.

    Args:
        url: http or https.
        timeout_s: For connecting and for each read (seconds).
        use_proxy: Honour http_proxy and friends.
    Raises:
        ConfigurationError: nothing answered; the message names the address and the reason.
    """
    subject = mask(url.partition("?")[0])
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(subject, "not an http address", action="write http:// or https:// in the inventory")
    request = urllib.request.Request(url, data=body, method=method, headers=dict(headers or {}))  # noqa: S310  checked above
    opener = urllib.request.build_opener() if use_proxy else _DIRECT
    begun = time.perf_counter()
    try:
        try:
            reply = opener.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            reply = error
        with reply:
            content = reply.read()
            elapsed_ms = (time.perf_counter() - begun) * 1000
            return Response(int(reply.status), content, elapsed_ms, {k.lower(): v for k, v in reply.headers.items()})
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ConfigurationError(
            subject, f"no answer: {mask(str(reason)) or type(error).__name__}", action="is it started and reachable?"
        ) from error

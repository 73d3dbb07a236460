"""Send HTTP requests of the plan: check, apply, verify, rollback."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runbook_lib.config.secret_references import resolved_header
from runbook_lib.databases.port import Problem
from runbook_lib.errors import ConfigurationError, StepFailed
from runbook_lib.plan.system_tasks import Request
from runbook_lib.run.context import RunContext
from runbook_lib.steps.acting import act, filled, take_back, undone, unmet
from runbook_lib.util.http import fetch
from runbook_lib.verdict import Outcome, StepResult, Verdict

_FIRST_PAUSE_S = 0.2  # doubled with each attempt
_LONGEST_PAUSE_S = 10.0


@dataclass(frozen=True)
class HttpStep:
    """Requests of the plan (`Request`, as mappings).

    Attributes:
        title: Distinguishes the requests of a plan.
        acts: What `apply` sends; not where `proof` is answered as expected already, nor again once it is.
        proof: The request whose expected answer says that it is so.
        condition: The request whose expected answer says that nothing stands in the way.
        undo: What `rollback` sends; without it the step is irreversible.
        on: A service of the inventory, for the placeholders `{name}` and `{url}`.
        timeout_s: Of each request (seconds).
        retries: How often a request is sent again that failed.
    """

    title: str
    acts: Mapping[str, Any]
    proof: Mapping[str, Any]
    condition: Mapping[str, Any] = field(default_factory=dict)
    undo: Mapping[str, Any] = field(default_factory=dict)
    on: str = ""
    timeout_s: float = 10.0
    retries: int = 0
    requires: Sequence[str] = ()

    @property
    def name(self) -> str:
        return f"http_step:{self.title}"

    @property
    def reversible(self) -> bool:
        return bool(self.undo)

    def check(self, run: RunContext) -> list[Problem]:
        return unmet(run, self, lambda: self._ask(run, self.condition)) if self.condition else []

    def apply(self, run: RunContext) -> StepResult:
        return act(run, self, lambda: self._do(run, self.acts, done=True))

    def verify(self, run: RunContext) -> Verdict:
        """Once before the step acts; afterwards again, for what was asked for may take effect a little later."""
        seen = self._ask(run, self.proof)
        for pause_s in self._pauses() if self.name in run.just_applied else ():
            if seen.passed:
                break
            time.sleep(pause_s)
            seen = self._ask(run, self.proof)
        return seen

    def rollback(self, run: RunContext) -> StepResult:
        run.just_applied.pop(self.name, None)
        return take_back(run, self, lambda: self._do(run, self.undo, done=False))

    def undone(self, run: RunContext) -> Verdict:
        return undone(run, self)

    def _pauses(self) -> list[float]:
        return [min(_FIRST_PAUSE_S * 2**number, _LONGEST_PAUSE_S) for number in range(self.retries)]

    def _do(self, run: RunContext, settings: Mapping[str, Any], *, done: bool) -> str:
        """Send it until it is answered as expected, or until `proof` says that an unanswered one has done it."""
        seen = self._ask(run, settings)
        for pause_s in self._pauses():
            if seen.passed:
                break
            time.sleep(pause_s)
            now = self._ask(run, self.proof)
            if now.passed if done else now.outcome is Outcome.FAIL:
                return f"{seen.text}; it was done all the same: {now.text}"
            seen = self._ask(run, settings)
        if not seen.passed:
            action = "put it right and run the cell again: its `verify` is asked first"
            raise StepFailed(self.name, seen.text, state="it may have been done", action=action)
        return seen.text

    def _ask(self, run: RunContext, settings: Mapping[str, Any]) -> Verdict:
        request = Request(**settings)
        url = request.url.format_map(filled(run, self.on))
        headers = {name: resolved_header(text, run.environment.root) for name, text in request.headers.items()}
        body = request.body.encode() if request.body else None
        try:
            answer = fetch(url, method=request.method, body=body, headers=headers, timeout_s=self.timeout_s)
        except ConfigurationError as error:
            return Verdict(Outcome.COULD_NOT_RUN, f"{error.subject}: {error.observed}")
        said = f"{request.method} {url.partition('?')[0]}: HTTP {answer.status}: {answer.text(200)}"
        expected = answer.status == request.status if request.status else 200 <= answer.status < 300
        if expected and re.search(request.match, answer.body.decode(errors="replace")):
            return Verdict(Outcome.PASS, said)
        wanted = f"expected {request.status or '2xx'}{f' with /{request.match}/' if request.match else ''}"
        outcome = Outcome.COULD_NOT_RUN if answer.status >= 500 else Outcome.FAIL
        return Verdict(outcome, f"{said}; {wanted}")

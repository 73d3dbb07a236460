"""The account of a run: how everything that the source has was handled, checked when the tables are complete."""

from __future__ import annotations

from runbook_lib.assessment.account import Account
from runbook_lib.assessment.routes import measured
from runbook_lib.errors import RunbookError
from runbook_lib.run.context import RunContext
from runbook_lib.steps.check_table import Findings, look
from runbook_lib.steps.routes_and_links import targets
from runbook_lib.verdict import Outcome, Verdict


@look("objects_accounted", "Account")
def account_for_objects(run: RunContext) -> Account | Findings:
    """Everything that the source has: moved, translated, or left behind with the reason; the gate demands no more."""
    try:
        account = measured(run.plan, run.source, targets(run))
    except RunbookError as error:
        run.verdict("objects_accounted", Verdict(Outcome.COULD_NOT_RUN, str(error)))
        raise
    run.verdict("objects_accounted", account.verdict())
    return account

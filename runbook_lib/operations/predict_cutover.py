"""What a cutover or a return would do now, before anything is fenced: for the person who is to say yes to it."""

from __future__ import annotations

from dataclasses import dataclass

from runbook_lib.databases.port import Pending
from runbook_lib.operations.pair import Pair
from runbook_lib.operations.switchover import compare_touched
from runbook_lib.transfer.capture import logged_tables, pending
from runbook_lib.transfer.cutover import Prediction, Touched
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.quarantine import Refused
from runbook_lib.transfer.sync import Key, keys_of
from runbook_lib.transfer.trial_apply import would_not_fit
from runbook_lib.transfer.writers import Side, Writers

KEYS = 100  # what a cutover catches up to before it fences
RATE = 2_000.0  # keys applied per second, before it is measured: a hundred take 50 ms
FENCE_S, SWITCH_S = 0.05, 0.1  # what raising a fence and a switch take, where nobody measured them (seconds)


@dataclass(frozen=True)
class CutoverPrediction:
    """What was seen, and what would come.

    Attributes:
        writers: Who has the writes now, by the fences of both sides.
        to: The side that is to have them.
        waiting: Keys that wait to be synced there.
        predicted: The write pause; only the comparison is measured, on keys that wait now.
        refused: Rows that the other side would refuse, or has in quarantine.
    """

    writers: Writers
    to: Side
    waiting: Pending
    predicted: Prediction
    refused: tuple[Refused, ...]

    def fits(self, budget_s: float) -> bool:
        """Whether nothing that is known now speaks against it."""
        return not self.refused and self.predicted.total_s <= budget_s


def predict_switchover(pair: Pair, to: Side) -> CutoverPrediction:
    """Check both sides; nothing is written, synced, or stopped.

    Args:
        to: TARGET is the cutover, SOURCE the return.
    """
    writers = pair.writers()
    link = pair.forward if to is Side.TARGET else pair.back
    lag = pending([link])
    touched = _waiting(link)
    verify_s = compare_touched([link], touched).elapsed_s
    few = min(lag.keys, KEYS)
    predicted = Prediction(lag.keys, RATE, FENCE_S, few / RATE, verify_s, SWITCH_S)
    return CutoverPrediction(writers, to, lag, predicted, (*quarantined(link), *would_not_fit(link)))


def quarantined(link: Link) -> list[Refused]:
    """The rows of this link that are in quarantine."""
    if link.quarantine is None:
        return []
    return [row for flow in link.flows for row in link.quarantine.held(link.channel, flow.table).values()]


def _waiting(link: Link) -> Touched:
    found: dict[tuple[str, str], frozenset[Key]] = {}
    for table in logged_tables(link):
        changes = link.reader.read_changes(link.channel, table, KEYS)
        for flow, feed in link.fed[table]:
            keys = keys_of(changes, link.captured[table], feed)
            if keys:
                place = link.service, flow.table
                found[place] = found.get(place, frozenset()) | frozenset(keys)
    return found

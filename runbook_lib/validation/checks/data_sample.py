"""Check: some rows, value by value. Random keys of both sides with a recorded seed, and their first and last rows."""

from __future__ import annotations

from random import Random

from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.context import Context, Deadline, each_table, label
from runbook_lib.validation.report.mismatches import CheckResult
from runbook_lib.validation.rows import given_keys
from runbook_lib.validation.rows.compared import Key
from runbook_lib.validation.rows.recheck import settle
from runbook_lib.validation.rows.row_pairs import named
from runbook_lib.validation.rows.sampling import draw
from runbook_lib.validation.rows.small_tables import count_small, equal_rows

NAME = "data_sample"
SHARES = (0.001, 0.01)  # of damaged rows, for which the figures say how surely the sample would have met one


def data_sample(link: Link, context: Context) -> CheckResult:
    """Read the same keys on both sides and compare them; says which columns differ, and how much a pass is worth."""
    if context.options.only_keys is not None:
        return each_table(NAME, link, context, lambda flow: given_keys.compare(NAME, link, flow, context))
    deadline = context.deadline()
    count_small(link, context)
    equal = equal_rows(link, context, context.options.sample_rows // 4)

    def look(flow: Flow) -> CheckResult:
        if (rows := equal.get(flow)) is None:
            return _table(link, flow, context, deadline)
        return CheckResult(NAME, figures={label(link, flow): _figures(rows, context.options.seed)})

    return each_table(NAME, link, context, look)


def _table(link: Link, flow: Flow, context: Context, deadline: Deadline) -> CheckResult:
    side = context.compared(link, flow)
    if not side.key:
        return CheckResult(
            NAME, figures={label(link, flow): {"sampled": 0, "note": "no key: checksums compare it all"}}
        )
    there, here = context.counts(link, flow)
    several, few = context.options.sample_rows, context.options.sample_rows // 4  # at the target, for rows too many
    (drawn, ends_there), (drawn_here, ends_here) = context.both(
        lambda: draw(link.reader, side.reading, side, several, there, _random(context, flow, "source")),
        lambda: draw(link.writer, side.writing, side, few, here, _random(context, flow, "target")),
    )
    keys: dict[tuple[str, ...], Key] = {
        named(k, side.key_types): k for k in (*drawn_here, *ends_here, *drawn, *ends_there)
    }
    found = settle(NAME, link, flow, side, list(keys.values()), context, deadline)
    return found.plus(CheckResult(NAME, figures={label(link, flow): _figures(len(keys), context.options.seed)}))


def _random(context: Context, flow: Flow, where: str) -> Random:
    """A sample that can be drawn again."""
    return Random(f"{context.options.seed} {flow.table} {where}")  # noqa: S311  a sample, not a secret


def _figures(sampled: int, seed: int) -> dict[str, object]:
    """Were a share p of the rows damaged, n random rows would have met one with the probability 1 - (1 - p)^n."""
    confidence = {f"{share:.1%}": round(1 - (1 - share) ** sampled, 4) for share in SHARES}
    seen = round(1 - 0.05 ** (1 / sampled), 6) if sampled else 1.0
    return {"sampled": sampled, "seed": seed, "confidence_if_damaged": confidence, "share_seen_with_95_percent": seen}

"""Both accounts compared: what else than columns, indexes and constraints is missing, too many, or another.

Within one engine object by object, without what the other checks compare by table (`accounts`). Between engines only
what stands beside the tables: what another engine has instead of the rest was decided by the translation (`across`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from runbook_lib.assessment.account import LEFT, TRANSLATED
from runbook_lib.assessment.fates import comparable_name, own_name
from runbook_lib.assessment.kinds import BY_STATEMENT, LEFT_BEHIND
from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import CatalogObject, Inventory
from runbook_lib.databases.sql_text import NAME, WORD, tokens, unquoted
from runbook_lib.transfer.links import Link
from runbook_lib.validation.checks.object_matching import left_behind
from runbook_lib.validation.checks.other_objects import called
from runbook_lib.validation.context import Context
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch, shorten

# By table, the checks of schemas, indexes and constraints compare these: kind → what of the table they look at. What
# the engine's catalog says beyond that (an index is ignored, a trigger fires later) is told here.
ELSEWHERE: Mapping[str, str] = {
    "index": "indexes", "primary key": "constraints", "unique constraint": "constraints", "foreign key": "constraints",
    "check constraint": "constraints", "exclusion constraint": "constraints", "trigger": "triggers",
}  # fmt: skip
# Between engines these have nothing by themselves at the target.
BESIDE = frozenset((
    "view", "materialized view", "function", "procedure", "package", "trigger", "sequence", "event", "virtual table",
))  # fmt: skip
NO_EQUIVALENT = "has no equivalent"
KNOWINGLY = "left behind by the copy"
Repair = Callable[[CatalogObject | None, CatalogObject | None], str]
Objects = Mapping[tuple[str, str], CatalogObject]
Told = set[tuple[str, str, str | tuple[str, ...]]]  # table, what of it (`ELSEWHERE`), name or columns


def accounts(check: str, link: Link, context: Context) -> CheckResult:
    """Compare what both databases have, of the link's tables and, where it has all of the source's, beside them."""
    if not link.forward or context.options.only_keys is not None:
        return CheckResult(check)
    if link.reader.dialect != link.writer.dialect:
        return CheckResult(check) if link.service else across(check, link, context)
    there, here = context.both(link.reader.inventory, link.writer.inventory)
    same = {flow.table for flow in link.flows if not flow.mapped and flow.feeds[0].table == flow.table}
    whole = not link.service and {o.table for o in there.objects if o.kind == "table"} <= same
    known, omitted = _left_by_copy(link, here), _omitted(link, context)
    repair = dialect_of(link.writer.dialect).repair_object
    found, aside = list[Mismatch](), list[Mismatch]()
    told = _told(link, same, context)
    for origin, twin in _pairs(_among(there, same, told), _among(here, same, told), whole=whole):
        mismatch = _said(partial(Mismatch, check, link.service), origin, twin, repair)
        item = origin or twin
        if item is None or mismatch is None:
            continue
        without = item is origin and twin is None and _names(item, omitted.get(item.table, frozenset()), link)
        expected = without or _expected(item, origin, twin, known, context)
        (aside if expected else found).append(mismatch)
    return CheckResult(check, mismatches=tuple(found), information=tuple(aside))


def across(check: str, link: Link, context: Context) -> CheckResult:
    """Between engines: what the source has beside its tables, for which the target has nothing of its name.

    Where a copy's account is kept at the target it says what was left behind knowingly: information. What came to the
    source since, or was at the target and is gone, is a difference. Without an account all of it is information.
    """
    there, here = context.both(link.reader.inventory, link.writer.inventory)
    read = {comparable_name(flow.feeds[0].table) for flow in link.flows}
    if not {comparable_name(item.name) for item in there.objects if item.kind == "table"} <= read:
        return CheckResult(check)  # some tables: what stands beside them all is not asked
    known, present = _account(link), {(item.kind, comparable_name(item.name)) for item in here.objects}
    found, aside = list[Mismatch](), list[Mismatch]()
    for item in there.objects:
        outcome = (known or {}).get((item.kind, item.name), "")
        if item.kind not in BESIDE or outcome == TRANSLATED or (item.kind, comparable_name(item.name)) in present:
            continue
        what = f"{item.kind} {item.name}"
        why = KNOWINGLY if outcome == LEFT else f"{link.writer.name} {NO_EQUIVALENT}"
        one = Mismatch(check, link.service, item.table or what, Kind.MISSING_OBJECT, text=f"{what}: {why}")
        (found if known is not None and not outcome else aside).append(one)
    aside += _targets_own(check, link, there, here)
    return CheckResult(check, mismatches=tuple(found), information=tuple(aside))


def _targets_own(check: str, link: Link, there: Inventory, here: Inventory) -> Iterator[Mismatch]:
    """What fires or hides rows at the target's tables, and has no namesake at the source: a person's, or a mistake."""
    known, tables = {comparable_name(item.name) for item in there.objects}, {flow.table for flow in link.flows}
    for item in here.objects:
        acts = item.kind in ("trigger", "rule", "policy", "row security") and item.table in tables
        if acts and (item.kind == "row security" or comparable_name(item.name) not in known):
            text = f"{item.kind} {item.name} is {link.writer.name}'s own"
            yield Mismatch(check, link.service, item.table, Kind.EXTRA_OBJECT, text=text, name=item.name)


def _account(link: Link) -> dict[tuple[str, str], str] | None:
    """Kind and name → the outcome in the account of the copy that made this target; None: none is kept."""
    from runbook_lib.schema.convert.left_behind import account_at
    from runbook_lib.schema.kept_scripts import keeps  # here: it needs SQLAlchemy, most comparisons do not

    account = account_at(link.channel, link.writer) if keeps(link.writer) else None
    return None if account is None else {(one["kind"], one["name"]): one["outcome"] for one in account["not_moved"]}


def _told(link: Link, tables: set[str], context: Context) -> Told:
    """The indexes, constraints and triggers that another check finds to differ, by name and by columns."""
    read, written = context.catalogs(link)
    told: Told = set()
    for table in tables & set(read) & set(written):
        for part in set(ELSEWHERE.values()):
            there, here = ({_text(each): each for each in getattr(side[table], part)} for side in (read, written))
            for text in there.keys() ^ here.keys():
                each = there[text] if text in there else here[text]
                names = (called(each).strip('`"'),) if isinstance(each, str) else (each.name, each.columns)
                told |= {(table, part, name) for name in names}
    return told


def _text(part: Any) -> str:
    return part if isinstance(part, str) else f"{part.definition} {getattr(part, 'validated', '')}"


def _among(inventory: Inventory, tables: set[str], told: Told) -> Objects:
    return {
        (item.kind, item.name): item
        for item in inventory.objects
        if not item.table or (item.table in tables and not _elsewhere(item, told))
    }


def _elsewhere(item: CatalogObject, told: Told) -> bool:
    """Whether another check names it; of privileges those on whole tables."""
    if part := ELSEWHERE.get(item.kind):
        return bool({(item.table, part, name) for name in (own_name(item), item.columns)} & told)
    return item.kind == "grant" and ") on " not in item.name


def _pairs(
    there: Objects, here: Objects, *, whole: bool
) -> Iterator[tuple[CatalogObject | None, CatalogObject | None]]:
    """Those that are not the same; of some tables only, what stands beside them is compared where both have it."""
    for key in dict.fromkeys((*there, *here)):
        origin, twin = there.get(key), here.get(key)
        if origin and twin:
            if origin.definition != twin.definition:
                yield origin, twin
        elif key[0] not in ("table", "identity"):  # a missing one, and an index or a constraint, has its own finding
            table = any(side and side.table for side in (origin, twin))
            if (whole or table) and not (table and key[0] in ELSEWHERE):
                yield origin, twin


def _said(
    say: partial[Mismatch], origin: CatalogObject | None, twin: CatalogObject | None, repair: Repair
) -> Mismatch | None:
    item = origin or twin
    if item is None:
        return None
    values = {"source_value": shorten(origin.definition) if origin else "", "name": item.name}
    values["target_value"] = shorten(twin.definition) if twin else ""
    what = f"{item.kind} {item.name}"
    missing, another, extra = wordings(what)
    if origin and twin:
        kind, text = Kind.DIFFERENT_OBJECT, another
    elif origin:
        kind, text = Kind.MISSING_OBJECT, missing
    else:
        kind, text = Kind.EXTRA_OBJECT, extra
    return say(item.table or what, kind, text=text, mend=repair(origin, twin), **values)


def wordings(what: str) -> tuple[str, str, str]:
    """How a finding says that an object (its kind and name) is missing, another one, or too many."""
    return f"no {what}", f"{what} is another", f"{what} is not at the source"


def _expected(
    item: CatalogObject,
    origin: CatalogObject | None,
    twin: CatalogObject | None,
    known: frozenset[str],
    context: Context,
) -> bool:
    """What a copy leaves behind, what the target has of its own, and privileges unless the plan requires them."""
    if item.kind in BY_STATEMENT:
        return "privileges" not in context.options.require
    if item.kind == "event schedule" and origin is None and not context.options.sequences:
        return False  # before the cutover it fires at the target, and not at the source
    if item.kind in LEFT_BEHIND or (item.kind == "comment" and any(f"{kind} " in item.name for kind in LEFT_BEHIND)):
        return True
    if origin is None and not item.table:
        return True
    return twin is None and comparable_name(item.name) in known


def _omitted(link: Link, context: Context) -> Mapping[str, frozenset[str]]:
    """Columns of the source that the plan leaves out, by table."""
    there, _ = context.catalogs(link)
    flows = (flow for flow in link.flows if flow.table in there)
    return {flow.table: frozenset(left_behind(there[flow.table], flow)) for flow in flows}


def _names(item: CatalogObject, columns: frozenset[str], link: Link) -> bool:
    """Whether it is about one of these columns: without the column it cannot be there (its comment, a policy …)."""
    if not columns:
        return False
    texts = (item.name, "" if item.kind == "comment" else item.definition)
    found = (token for text in texts for token in tokens(text, link.reader.dialect))
    return any(token.kind in (WORD, NAME) and unquoted(token) in columns for token in found)


def _left_by_copy(link: Link, here: Inventory) -> frozenset[str]:
    """Names of what the copy that made this target could not make, as it remembers them there."""
    if "later" not in here.own:
        return frozenset()
    from runbook_lib.schema.convert.left_behind import remembered  # here: it needs SQLAlchemy, most comparisons do not

    return frozenset(comparable_name(one.name) for one in remembered(link.channel, link.writer) if one.name)

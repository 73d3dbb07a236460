"""One object that cannot be made keeps no other back: it is left behind, with the database's reason and what to do.

What was left behind stays with its script at the target: the same copy, run again, makes just that, in the words that
the source has for it by then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from runbook_lib.databases.port import Database, OtherObjects
from runbook_lib.databases.statement_names import NamedObject, named, pieces
from runbook_lib.errors import DatabaseError, TransferError
from runbook_lib.schema.kept_scripts import ACCOUNT, LEFT, RAN, REST, Part, cut, kept, replace_parts, run_part

_ORDINALS = 10_000  # for the pieces of a script in place of its own
_KEYS_OF_ONE = re.compile(r", ADD (?=(?:UNIQUE |FULLTEXT |SPATIAL )?KEY `)")
AGAIN = "correct it at the source, or what it needs at the target, and run the same copy again: only this is made then"
_ACTIONS = {
    "primary key": "correct the rows at the source, or make the key by hand; the same copy, run again, tries it again",
    "foreign key": "give the rows without a parent one at both sides, or delete them, and run the same copy again",
    "rows of materialized view": "REFRESH MATERIALIZED VIEW at the target, when what it reads is there",
}


@dataclass(frozen=True)
class LeftBehind:
    """An object of the source that the target does not have, although it was tried.

    Attributes:
        kind: In the engine's words, in small letters (`view`, `index`, `foreign key`).
        name: Its name; empty where the engine gives one by itself.
        table: Of what it belongs to, if anything.
        why: The database's own reason.
        action: What to do.
    """

    kind: str
    name: str
    table: str
    why: str
    action: str

    @property
    def line(self) -> str:
        """In one line."""
        of = f" of {self.table}" if self.table else ""
        return f"left behind: {self.kind} {self.name}".rstrip() + f"{of}: {self.why}. Next: {self.action}"


def reasons_in_one_line(left: Sequence[LeftBehind]) -> str:
    """Each with its reason, in one line."""
    return "; ".join(
        f"{one.kind} {one.name}".rstrip() + f"{f' of {one.table}' if one.table else ''}: {one.why}" for one in left
    )


def require_all_made(where: str, left: Sequence[LeftBehind]) -> None:
    """Where nothing may be left behind.

    Raises:
        TransferError: something could not be made: all of it by name; everything else is there.
    """
    if left:
        raise TransferError(
            where,
            f"{len(left)} objects were refused: {reasons_in_one_line(left)}"
            if len(left) > 1
            else reasons_in_one_line(left),
            state="everything else is made",
            action="correct the rows at the source, or the object there, and run this again: only these are made then",
        )


def make_each(service: str, target: Database, kind: str) -> list[LeftBehind]:
    """Run what is kept of this kind: all at once where that goes, else each object by itself. Idempotent."""
    left = [
        one
        for part in kept(target, service, kind)
        if (error := _tried(service, target, part)) is not None
        for one in make_one_by_one(service, target, {part: error})
    ]
    if kind == REST and not left:
        replace_parts(target, service, kept(target, service, RAN), ())
    return left


def make_one_by_one(service: str, target: Database, refused: Mapping[Part, DatabaseError]) -> list[LeftBehind]:
    """The objects of refused scripts, each by itself; those that are refused again."""
    left = []
    for part, error in refused.items():
        texts = _one_by_one(part.script)
        if len(texts) < 2:
            left.append(_left(part, error))
            continue
        first = _ORDINALS * (part.ordinal + 1)
        small = [Part(part.kind, part.stage, first + i, text) for i, text in enumerate(texts)]
        replace_parts(target, service, [part], small)
        tried = [(each, _tried(service, target, each)) for each in small]
        left += [_left(each, error) for each, error in tried if error is not None]
    return left


def remember(service: str, target: Database, left: Sequence[LeftBehind]) -> None:
    """Keep the list at the target, in place of an earlier one."""
    rows = [Part(LEFT, ordinal=i, script=json.dumps(asdict(one))) for i, one in enumerate(left)]
    replace_parts(target, service, kept(target, service, LEFT), rows)


def remembered(service: str, target: Database) -> list[LeftBehind]:
    """What the last copy left behind."""
    return [LeftBehind(**json.loads(part.script)) for part in kept(target, service, LEFT)]


def keep_account(service: str, target: Database, account: Mapping[str, object]) -> None:
    """Keep the account of a copy at the target, in place of an earlier one's."""
    whole = Part(ACCOUNT, script=json.dumps(account, ensure_ascii=False))
    replace_parts(target, service, kept(target, service, ACCOUNT), [whole])


def account_at(service: str, target: Database) -> dict[str, Any] | None:
    """The account of the last copy, as `Account.as_dict` gave it; None where none is kept. Its table must be there."""
    found: list[dict[str, Any]] = [json.loads(part.script) for part in kept(target, service, ACCOUNT)]
    return found[0] if found else None


def refresh(service: str, target: Database, rest: OtherObjects | None) -> None:
    """Let what waits beside the tables be what the source has now: it may have been corrected there since."""
    waiting = kept(target, service, REST)
    if rest is None or not waiting:
        return
    if not any(part.ordinal >= _ORDINALS for part in waiting) and not kept(target, service, RAN):
        replace_parts(target, service, waiting, cut(target, REST, rest.script))
        return
    whole = cut(target, REST, rest.script)
    today = {what: text for part in whole for text in _one_by_one(part.script) if (what := _key(text))}
    gone, new = list[Part](), list[Part]()
    for part in waiting:
        gone.append(part)
        if text := today.get(_key(part.script)):
            new.append(replace(part, script=text))
    for part in kept(target, service, RAN):
        text = today.get(key := _key(part.script))
        if text and text != part.script and key.kind in ("function", "procedure"):
            gone.append(part)
            new.append(replace(part, kind=REST, script=_in_place(text, key)))
    replace_parts(target, service, gone, new)


def _tried(service: str, target: Database, part: Part) -> DatabaseError | None:
    try:
        run_part(target, service, part, as_ran=part.kind == REST)
    except DatabaseError as error:
        return error
    return None


def _one_by_one(script: str) -> list[str]:
    """A script of several objects as one script each."""
    head, objects = pieces(script)
    if len(objects) > 1 or head:
        return [head + each for each in objects]
    statement, *more = _KEYS_OF_ONE.split(script)  # MySQL adds a table's indexes in one statement
    change = re.match(r"ALTER TABLE `(?:[^`]|``)+` ADD ", statement)
    if not more or not change:
        return [script]
    return [f"{each.rstrip().rstrip(';')};" for each in (statement, *(change[0] + each for each in more))]


def _key(script: str) -> NamedObject:
    return named(script) or NamedObject("object", script.strip()[:60])


def _in_place(text: str, what: NamedObject) -> str:
    """A routine that this copy has made, in its new words."""
    word = what.kind.upper()
    return re.sub(rf"(?m)^CREATE (?={word} )", "CREATE OR REPLACE ", text, count=1)


def _left(part: Part, error: DatabaseError) -> LeftBehind:
    what = _key(part.script)
    why = error.observed.partition(" while ")[0]
    return LeftBehind(what.kind, what.name, what.table, why, _ACTIONS.get(what.kind, AGAIN))

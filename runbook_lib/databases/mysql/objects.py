"""What a database has beside its tables: sequences, routines, packages, views, events, each as the server writes it.

Kind *and* name tell one from another: a function, a procedure and a view may have one name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

import pymysql

from runbook_lib.databases import sql_text
from runbook_lib.databases.mysql import connection, made_under, qualified, quoting
from runbook_lib.databases.mysql.made_under import Framed

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

# In this order they can be made: a view calls functions, a body needs its package.
_LISTED = """
SELECT 'SEQUENCE', table_name, '', '' FROM information_schema.tables
WHERE table_schema = database() AND table_type = 'SEQUENCE'
UNION ALL
SELECT routine_type, routine_name, definer, security_type FROM information_schema.routines
WHERE routine_schema = database()
UNION ALL
SELECT 'VIEW', table_name, definer, security_type FROM information_schema.views WHERE table_schema = database()
UNION ALL
SELECT 'EVENT', event_name, definer, 'DEFINER' FROM information_schema.events WHERE event_schema = database()
"""
_HIDDEN = (1142, 1143, 1227, 1305, 1370, 1044, 1356)  # no right to see it; 1356: a view whose tables are gone
ORDER = ("SEQUENCE", "FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY", "VIEW", "EVENT")
_OWNER = re.compile(
    r"^(CREATE (?:OR REPLACE )?(?:ALGORITHM=\w+ )?)DEFINER=(?:`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\"|[^\s@]+)"
    r"(?:@(?:`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\"|\S+))? ",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Item:
    """An object as its server describes it.

    Attributes:
        statement: What makes it, with the session for that; without its definer and its database's name. "" where the
            login may not see it.
        enabled: Of an event: whether it fires at its server.
    """

    kind: str
    name: str
    statement: Framed
    definer: str = ""
    security: str = ""
    enabled: bool = False

    @property
    def label(self) -> str:
        """`kind name`, as a person reads it."""
        return f"{self.kind.lower()} {self.name}"

    @property
    def drop(self) -> str:
        """The statement that removes it where it is there."""
        return f"DROP {self.kind} IF EXISTS {quoting.ident(self.name)}"


def items(db: MySQLPort) -> list[Item]:
    """All of them, in an order in which they can be made."""
    return _readers_last(_items(db))


def views(db: MySQLPort) -> dict[str, str]:
    """The views' texts as the server prints them: what information_schema keeps is how each was first written."""
    return {item.name: item.statement for item in _items(db, ("VIEW",))}


def _items(db: MySQLPort, kinds: Collection[str] = ORDER) -> list[Item]:
    listed = [row for row in db.rows(_LISTED) if row[0] in kinds]
    found = sorted(listed, key=lambda row: (ORDER.index(row[0]), row[1]))
    tables = {str(name) for (name,) in db.rows(_RELATIONS)}
    known = tables | {str(row[1]) for row in found}
    return [_item(db, str(kind), str(name), str(who), str(how), known) for kind, name, who, how in found]


_RELATIONS = "SELECT table_name FROM information_schema.tables WHERE table_schema = database()"


def _item(db: MySQLPort, kind: str, name: str, definer: str, security: str, known: Collection[str]) -> Item:
    shown = _shown(db, kind, name)
    text = shown.pop("text")
    enabled = False
    if kind == "VIEW":
        text = qualified.view(text, db.login.database, known)
        text = re.sub(r"^CREATE ALGORITHM=UNDEFINED SQL SECURITY DEFINER VIEW", "CREATE VIEW", without_owner(text))
    elif kind == "EVENT":
        text, enabled = asleep(without_owner(text), shown.get("sql_mode", ""))
    else:
        text = without_owner(text)
    return Item(kind, name, Framed.of(text, shown), definer, security, enabled)


def _shown(db: MySQLPort, kind: str, name: str) -> dict[str, str]:
    """SHOW CREATE as the settings of its session and its `text`."""
    try:
        with db.raw() as driver, driver.cursor() as cursor:
            cursor.execute(f"SHOW CREATE {kind} {quoting.ident(name)}")
            columns, row = [each[0] for each in cursor.description or ()], cursor.fetchone() or ()
    except pymysql.MySQLError as error:
        if connection.code(error) not in _HIDDEN:
            raise db.explain(error, f"reading {kind.lower()} {name}") from error
        return {"text": ""}
    given = {column.lower().replace(" ", "_"): value for column, value in zip(columns, row, strict=True)}
    text = next((v for k, v in given.items() if k.startswith("create_") or k == "sql_original_statement"), None)
    settings = {key: str(given[key]) for key in (*made_under.SESSION, made_under.DATABASE) if given.get(key)}
    return {**settings, "text": str(text or "")}


def without_owner(create: str) -> str:
    """A CREATE without its DEFINER: whoever makes it becomes that."""
    return _OWNER.sub(r"\1", create, count=1)


def asleep(create: str, sql_mode: str) -> tuple[str, bool]:
    """An event's CREATE that makes it disabled, and whether it was enabled: it must not fire on both sides."""
    for token in sql_text.tokens(create, "mysql", sql_mode.split(",")):
        if token.upper == "DO":
            break
        if token.upper == "ENABLE":
            return f"{create[: token.start]}DISABLE{create[token.end :]}", True
    return create, False


def triggers(db: MySQLPort, own: Collection[str]) -> dict[str, list[Item]]:
    """The triggers of each table (without these of our own), in the order in which they fire."""
    found: dict[str, list[Item]] = {}
    for name, table, definer in db.rows(_TRIGGERS):
        if name not in own:
            found.setdefault(str(table), []).append(trigger(db, str(name), definer))
    return found


def trigger(db: MySQLPort, name: str, definer: str = "") -> Item:
    """One of the user's triggers."""
    shown = _shown(db, "TRIGGER", name)
    text = without_owner(qualified.head(shown.pop("text"), db.login.database, shown.get("sql_mode", "").split(",")))
    return Item("TRIGGER", name, Framed.of(text, shown), definer, "DEFINER")


def meaning(statement: Framed) -> str:
    """What an object is: its text, and the `sql_mode` that it was read under; whose it is does not count."""
    modes = statement.session.get("sql_mode", "").split(",")
    return f"{','.join(sorted(mode for mode in modes if mode not in made_under.GONE))}\n{statement}"


def is_there(db: MySQLPort, kind: str, name: str, statement: str) -> bool:
    """Whether the object that is there by this kind and name is what the statement would make."""
    kind = "FUNCTION" if kind.upper().endswith("FUNCTION") else kind.upper()
    if kind not in (*ORDER, "TRIGGER") or not isinstance(statement, Framed):
        return True
    if kind in ("VIEW", "SEQUENCE") and not db.rows(_OF_KIND, {"name": name, "kind": kind}):
        return False  # they share their names with tables
    known = {str(one) for (one,) in db.rows(_RELATIONS)}
    found = trigger(db, name) if kind == "TRIGGER" else _item(db, kind, name, "", "", known)
    wanted = Framed.of(without_owner(statement), statement.session)
    return meaning(found.statement) == meaning(wanted)


_OF_KIND = """
SELECT 1 FROM information_schema.tables
WHERE table_schema = database() AND table_name = :name AND table_type = :kind
"""


_TRIGGERS = """
SELECT trigger_name, event_object_table, definer FROM information_schema.triggers WHERE trigger_schema = database()
ORDER BY event_object_table, action_timing, event_manipulation, action_order, trigger_name
"""


def _readers_last(made: Sequence[Item]) -> list[Item]:
    """A view that reads another comes after it; the others keep their places."""
    views = {item.name: item for item in made if item.kind == "VIEW"}
    reads = {name: [one for one in read_by(item.statement) if one in views] for name, item in views.items()}
    ordered = list(TopologicalSorter(reads).static_order())
    first = next((i for i, item in enumerate(made) if item.kind == "VIEW"), len(made))
    before, after = made[:first], [item for item in made[first:] if item.kind != "VIEW"]
    return [*before, *(views[name] for name in ordered), *after]


_BEFORE = ("FROM", "JOIN", "STRAIGHT_JOIN", "(", ",")


def read_by(text: str) -> set[str]:
    """The tables and views that a view's text (of the server's own) reads: names that are no column's."""
    code = sql_text.code(text, "mysql")
    return {
        sql_text.unquoted(token)
        for before, token, after in zip(code, code[1:], [*code[2:], code[0]], strict=False)
        if token.kind == sql_text.NAME and (before.upper or before.text) in _BEFORE and after.text != "."
    }


def named(text: str) -> set[str]:
    """The names in backticks that a text of the server's own has."""
    found = sql_text.tokens(text, "mysql")
    return {sql_text.unquoted(token) for token in found if token.kind == sql_text.NAME}


def script(made: Iterable[Item]) -> str:
    """The script that makes these; what the login may not see is left out."""
    return "".join(made_under.framed(item.statement) for item in made if item.statement)


def used_sequences(texts: Mapping[str, str], sequences: Iterable[str]) -> set[str]:
    """Of these sequences those that the texts of some tables ask for values."""
    asking = [text for text in texts.values() if "nextval(" in text or "lastval(" in text]
    return set().union(*map(named, asking)) & set(sequences)

"""Services and their tables, read from the plan."""

from __future__ import annotations

import re

from runbook_lib.plan import vocabulary
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.plan.yaml_value import Entry, Value

_SERVICE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")  # names routes, capture logs and triggers: 63 bytes in all


def read_services(value: Value) -> tuple[Service, ...]:
    """The services, in the order in which the plan names them."""
    return tuple(_read_service(entry) for entry in value.entries("services"))


def _read_service(entry: Entry) -> Service:
    name = entry.name
    if not _SERVICE_NAME.fullmatch(name):
        raise entry.at.error(f"service name `{name}`", expected="up to 40 letters, digits, `_` or `-`")
    fields = entry.value.fields(f"service {name}", vocabulary.SERVICE, vocabulary.SERVICE_ALIASES)
    apis = _read_apis(fields["apis"]) if "apis" in fields else ()
    tables = _read_tables(fields["tables"]) if "tables" in fields else ()
    database = fields["database"].text("database") if "database" in fields else name
    line = fields["database"].line if "database" in fields else entry.at.line
    return Service(name, database, apis, tables, line)


def _read_apis(value: Value) -> tuple[str, ...]:
    found = value.texts("apis")
    for text, at in found:
        if not re.fullmatch(r"/[^\s?#*]*\*?", text):
            raise at.error(f"api `{text}`", expected="a path such as /api/users/*")
    return tuple(text for text, _ in found)


def _read_tables(value: Value) -> tuple[TableMapping, ...]:
    if not value.is_list and not value.is_mapping:
        return tuple(_short(text, at) for text, at in value.texts("tables"))
    return tuple(_read_table(entry) for entry in value.entries("tables"))


def _short(text: str, at: Value) -> TableMapping:
    return TableMapping(_identifier(text, at), text, line=at.line)


def _read_table(entry: Entry) -> TableMapping:
    target, what = _identifier(entry.name, entry.at), f"table {entry.name}"
    fields = entry.value.fields(what, vocabulary.TABLE, vocabulary.TABLE_ALIASES)
    source = _identifier(fields["from"].text("from"), fields["from"]) if "from" in fields else target
    key = _pairs(fields, "key", identifiers=True)
    columns = _pairs(fields, "columns")
    reverse = _pairs(fields, "reverse")
    omit = tuple(_identifier(*item) for item in fields["except"].texts("except")) if "except" in fields else ()
    where = fields["where"].text("where") if "where" in fields else ""
    mapping = TableMapping(target, source, key, columns, reverse, omit, where, entry.at.line)
    _check_table(mapping, entry, fields)
    return mapping


def _check_table(mapping: TableMapping, entry: Entry, fields: dict[str, Value]) -> None:
    name = mapping.target
    if mapping.columns and not mapping.key:
        action = "add `key: {target column: source column}`"
        raise entry.at.error(f"table {name} has `columns` but no `key`", action=action)
    if mapping.key and not mapping.columns:
        raise fields["key"].error(f"table {name} has `key` but no `columns`", action="drop `key`, or add `columns`")
    if mapping.reverse and not mapping.columns:
        raise fields["reverse"].error(f"table {name} has `reverse` but no `columns`", action="drop `reverse`")
    if mapping.omit and mapping.columns:
        raise fields["except"].error(f"table {name} has `columns` and `except`", action="drop `except`")
    twice = sorted(set(mapping.key) & set(mapping.columns))
    if twice:
        raise fields["columns"].error(f"`{twice[0]}` is in `key` and in `columns`", action="keep it in `key`")
    keys = sorted(set(mapping.key.values()) & set(mapping.reverse))
    if keys:
        raise fields["reverse"].error(f"`reverse` writes `{keys[0]}`, which is the key", action="drop it there")


def _pairs(fields: dict[str, Value], name: str, *, identifiers: bool = False) -> dict[str, str]:
    if name not in fields:
        return {}
    if not fields[name].is_mapping:
        raise fields[name].error(f"`{name}` is not a mapping", expected=f"{name}: {{column: …}}")
    result = {}
    for entry in fields[name].entries(name):
        text = entry.value.text(f"{name} {entry.name}")
        result[_identifier(entry.name, entry.at)] = _identifier(text, entry.value) if identifiers else text
    return result


def _identifier(text: str, at: Value) -> str:
    parts = re.split(r'\.(?=(?:[^"]*"[^"]*")*[^"]*$)', text)  # not at a dot within quotes
    if len(parts) > 2 or not all(part.strip() for part in parts) or not text.isprintable():
        raise at.error(f"name `{text}`", expected="a name, or schema.name")
    if any(len(part.encode()) > 63 for part in parts):
        raise at.error(f"name `{text[:20]}…` has more than 63 bytes", expected="a name that PostgreSQL does not cut")
    return text

"""Services and their tables, read from the plan."""

from __future__ import annotations

import re

from runbook_lib.plan import keys
from runbook_lib.plan.key import Given
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.plan.names import name_of
from runbook_lib.plan.yaml_value import Entry, Value

_SERVICE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")  # names routes, capture logs and triggers: 63 bytes in all


def read_services(value: Value) -> tuple[Service, ...]:
    """The services, in the order in which the plan names them."""
    return tuple(_read_service(entry) for entry in value.entries("services"))


def _read_service(entry: Entry) -> Service:
    name = entry.name
    if not _SERVICE_NAME.fullmatch(name):
        raise entry.at.error(f"service name `{name}`", expected="up to 40 letters, digits, `_` or `-`")
    given = keys.SERVICE.read(entry.value, f"service {name}")
    settings = {"database": name, **given.settings()}
    tables = _read_tables(given[keys.TABLES]) if keys.TABLES in given else ()
    line = given[keys.DATABASE].line if keys.DATABASE in given else entry.at.line
    lines = {key.name: value.line for key, value in given.items()}
    return Service(name, **settings, tables=tables, line=line, lines=lines)


def _read_tables(value: Value) -> tuple[TableMapping, ...]:
    if not value.is_list and not value.is_mapping:
        return tuple(_short(text, at) for text, at in value.texts("tables"))
    return tuple(_read_table(entry) for entry in value.entries("tables"))


def _short(text: str, at: Value) -> TableMapping:
    return TableMapping(name_of(text, at), text, line=at.line)


def _read_table(entry: Entry) -> TableMapping:
    target = name_of(entry.name, entry.at)
    given = keys.TABLE.read(entry.value, f"table {entry.name}")
    mapping = TableMapping(target, **{"source": target, **given.settings()}, line=entry.at.line)
    _check_table(mapping, entry, given)
    return mapping


def _check_table(mapping: TableMapping, entry: Entry, given: Given) -> None:
    name = mapping.target
    if mapping.columns and not mapping.key:
        action = "add `key: {target column: source column}`"
        raise entry.at.error(f"table {name} has `columns` but no `key`", action=action)
    if mapping.key and not mapping.columns:
        raise given[keys.KEY].error(f"table {name} has `key` but no `columns`", action="drop `key`, or add `columns`")
    if mapping.reverse and not mapping.columns:
        raise given[keys.REVERSE].error(f"table {name} has `reverse` but no `columns`", action="drop `reverse`")
    if mapping.omit and mapping.columns:
        raise given[keys.EXCEPT].error(f"table {name} has `columns` and `except`", action="drop `except`")
    twice = sorted(set(mapping.key) & set(mapping.columns))
    if twice:
        raise given[keys.COLUMNS].error(f"`{twice[0]}` is in `key` and in `columns`", action="keep it in `key`")
    written = sorted(set(mapping.key.values()) & set(mapping.reverse))
    if written:
        raise given[keys.REVERSE].error(f"`reverse` writes `{written[0]}`, which is the key", action="drop it there")

"""The kinds of things that a database has, in the field's words, and what a copy does with each."""

from __future__ import annotations

from collections.abc import Mapping

from runbook_lib.assessment.account import LEFT, TRANSLATED

# Between two databases of one engine: brought along as they are.
BROUGHT = frozenset((
    "table", "partition", "view", "materialized view", "index", "sequence", "identity", "foreign table",
    "primary key", "unique constraint", "foreign key", "check constraint", "exclusion constraint", "domain constraint",
    "trigger", "rule", "policy", "row security", "replica identity", "storage options", "statistics",
    "function", "procedure", "aggregate", "enum", "domain", "composite type", "range type", "base type", "schema",
    "collation", "cast", "operator", "operator class", "operator family", "conversion", "language", "access method",
    "transform", "text search configuration", "text search dictionary", "text search parser", "text search template",
    "extension", "foreign-data wrapper", "foreign server", "publication", "publication relation", "publication schema",
    "comment", "owner", "grant", "default privilege", "event", "package", "package body", "virtual table",
    "file setting", "column options", "generated column",
))  # fmt: skip

# Statements by themselves, made when all else is there; without what they name there they stay behind.
BY_STATEMENT = ("owner", "grant", "default privilege")
# What says something of another object.
GUESTS = frozenset(("comment", "owner", "grant", "security label"))
# Between two databases of one engine: kind → why it stays behind, what to do (where no statement says it).
LEFT_BEHIND: Mapping[str, tuple[str, str]] = {
    "event trigger": ("it would fire for the statements of the migration itself", "create it after the cutover"),
    "subscription": ("a second subscriber would take the first one's changes", "create it after the cutover"),
    "user mapping": ("it holds a password", "CREATE USER MAPPING at the target"),
    "database setting": ("it is the database's, not the schema's", ""),
    "security label": ("its provider belongs to the server", ""),
    "tablespace": ("made in the target's default tablespace", ""),
    "row history": ("the target writes the times of its rows itself", "keep the source while it is needed"),
    "event schedule": ("enabled on both sides it would act twice: made disabled", "enable it after the cutover"),
    "definer": ("what is made belongs to the login that makes it", "let the same login copy, or make it by hand"),
    "histogram": ("the target gathers its own statistics", ""),
    "large objects": ("numbers in columns would name nothing", "move their bytes into a bytea column"),
}

# To another engine: with their table, as far as the translation carries them over.
WITH_TABLE: Mapping[str, str] = {
    "table": "its columns' types are the target's",
    "index": "as an index of the target",
    "primary key": "as the target's primary key",
    "unique constraint": "as a unique constraint of the target",
    "foreign key": "as a foreign key of the target",
    "check constraint": "in the target's words",
}
# To another engine: what a kind becomes in any case.
ACROSS: Mapping[str, tuple[str, str]] = {
    "partition": (TRANSLATED, "its rows are in its table, which is not partitioned"),
    "identity": (TRANSLATED, "as the target counts"),
    "enum": (TRANSLATED, "at the columns of this type"),
    "domain": (TRANSLATED, "at the columns of this type"),
    "domain constraint": (TRANSLATED, "at the columns of its domain"),
    "schema": (TRANSLATED, "as the first part of its tables' names"),
    "definer": (LEFT, "belongs to what it is the definer of"),
    "event schedule": (LEFT, "belongs to its event"),
    "row history": (LEFT, "{target} keeps no versions of rows; the rows of now are moved"),
    "statistics": (LEFT, "{target} gathers its own"),
    "replica identity": (LEFT, "{target} has none"),
    "storage options": (LEFT, "{target} has its own"),
    "column options": (LEFT, "{target} has its own"),
    "generated column": (TRANSLATED, "computed there where its expression means the same, else with its values"),
}

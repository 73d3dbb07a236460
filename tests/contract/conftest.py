"""Fixtures of the contract suite."""

from __future__ import annotations

import pytest
from contract_estate import HOSTILE_ROWS, HOSTILE_SCHEMA, TABLES

from runbook_lib.databases.port import Database


@pytest.fixture
def hostile(database: Database) -> Database:
    """The source database with the awkward schema and rows."""
    database.run_script(HOSTILE_SCHEMA)
    database.run_script(HOSTILE_ROWS)
    database.analyze([*TABLES, "outside"])
    return database

"""What the library asks of a database: eight Protocols in one, and the plain data that goes through it.

Transfer, validation and schema know only this file; drivers are imported only in the adapters beside it.
A *relation* below is the text of an SQL FROM clause, an *expression* SQL of the engine that evaluates it;
both come from the plan. Every identifier goes through `Database.quote`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from runbook_lib.databases.model import Applied as Applied
from runbook_lib.databases.model import BackupInfo as BackupInfo
from runbook_lib.databases.model import Buckets as Buckets
from runbook_lib.databases.model import CatalogObject as CatalogObject
from runbook_lib.databases.model import Catalogs as Catalogs
from runbook_lib.databases.model import Changes as Changes
from runbook_lib.databases.model import Column as Column
from runbook_lib.databases.model import Constraint as Constraint
from runbook_lib.databases.model import EqualRows as EqualRows
from runbook_lib.databases.model import FiringTrigger as FiringTrigger
from runbook_lib.databases.model import Hazard as Hazard
from runbook_lib.databases.model import Index as Index
from runbook_lib.databases.model import IndexUse as IndexUse
from runbook_lib.databases.model import Inventory as Inventory
from runbook_lib.databases.model import KeyRange as KeyRange
from runbook_lib.databases.model import Load as Load
from runbook_lib.databases.model import OtherObjects as OtherObjects
from runbook_lib.databases.model import Pending as Pending
from runbook_lib.databases.model import Problem as Problem
from runbook_lib.databases.model import RangeSum as RangeSum
from runbook_lib.databases.model import Recount as Recount
from runbook_lib.databases.model import Refusal as Refusal
from runbook_lib.databases.model import Selection as Selection
from runbook_lib.databases.model import Sequence_ as Sequence_
from runbook_lib.databases.model import ServerFacts as ServerFacts
from runbook_lib.databases.model import Table as Table
from runbook_lib.databases.protocols.bulk import Bulk
from runbook_lib.databases.protocols.catalog import Catalog
from runbook_lib.databases.protocols.change_capture import ChangeCapture
from runbook_lib.databases.protocols.change_capture import Rows as Rows
from runbook_lib.databases.protocols.checksums import Checksums
from runbook_lib.databases.protocols.checksums import Types as Types
from runbook_lib.databases.protocols.connected import Connected as Connected
from runbook_lib.databases.protocols.connected import Result as Result
from runbook_lib.databases.protocols.ddl import Ddl
from runbook_lib.databases.protocols.fence import Fence
from runbook_lib.databases.protocols.queries import Queries


class Database(Connected, Catalog, Ddl, Bulk, ChangeCapture, Fence, Checksums, Queries, Protocol):
    """One database of the inventory, with all that is asked of it."""

    def load(self) -> Load: ...  # how busy it is now; DatabaseError when the login may not see it

    def analyze(self, tables: Sequence[str]) -> None: ...

    def backup(self, directory: Path, *, jobs: int = 2, on_progress: Callable[[int], None] | None = None) -> BackupInfo:
        """A complete logical backup in the engine's own format, with its digest."""
        ...

    def restore(self, backup: BackupInfo, database: str) -> None:
        """Restore a backup into a new scratch database of this server."""
        ...

    def scratch(
        self, backup: BackupInfo, when_filled: Callable[[Database], object] | None = None
    ) -> AbstractContextManager[Database]:
        """A backup restored into a new scratch database and opened; dropped at the end, whatever happens.

        Args:
            when_filled: Called once, with the database whose rows are all in; beside the building of its indexes and
                constraints, where the engine does that afterwards.
        """
        ...

    def advisory_lock(self, name: str) -> AbstractContextManager[bool]:
        """A session lock that dies with the connection; yields whether it was granted (never waits)."""
        ...

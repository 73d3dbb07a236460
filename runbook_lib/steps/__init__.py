"""The steps of a runbook, one file each; and the looks that change nothing."""

from __future__ import annotations

from runbook_lib.steps.accounting import account_for_objects
from runbook_lib.steps.apply_ddl import ApplyDdl, schema_changes
from runbook_lib.steps.apply_revision import ApplyRevision
from runbook_lib.steps.archive_source import ArchiveSource
from runbook_lib.steps.backup_source import BackupSource
from runbook_lib.steps.build_indexes import BuildIndexes
from runbook_lib.steps.checklist import (
    borders,
    checklist,
    reasons,
    retrospective,
    signoffs,
    step_times,
    timeline,
    window,
)
from runbook_lib.steps.copy_history import CopyHistory
from runbook_lib.steps.create_extraction_views import CreateExtractionViews
from runbook_lib.steps.create_target_schemas import CreateTargetSchemas
from runbook_lib.steps.cutover import Cutover
from runbook_lib.steps.decommission_source import DecommissionSource
from runbook_lib.steps.disable_writes_to_source import DisableWritesToSource
from runbook_lib.steps.enable_writes_to_both import EnableWritesToBoth
from runbook_lib.steps.migrate_schema import migrate_schema, schema_difference, schema_path, schema_result
from runbook_lib.steps.open_way_back import OpenWayBack
from runbook_lib.steps.preflight import advise_indexes, assess_source, inspect_databases, inspect_traffic, lint_plan
from runbook_lib.steps.prove_way_back import ProveWayBack
from runbook_lib.steps.record_baseline import RecordBaseline
from runbook_lib.steps.shift_reads import ShiftReads, read_shifts
from runbook_lib.steps.smoke_test import SmokeTest
from runbook_lib.steps.start_services import StartServices
from runbook_lib.steps.start_sync import StartSync
from runbook_lib.steps.traffic_watch import observe_edge
from runbook_lib.steps.verify_data import VerifyData, compare_sides
from runbook_lib.steps.verify_version import VerifyVersion
from runbook_lib.steps.watch_traffic import WatchTraffic

__all__ = [
    "ApplyDdl",
    "ApplyRevision",
    "ArchiveSource",
    "BackupSource",
    "BuildIndexes",
    "CopyHistory",
    "CreateExtractionViews",
    "CreateTargetSchemas",
    "Cutover",
    "DecommissionSource",
    "DisableWritesToSource",
    "EnableWritesToBoth",
    "OpenWayBack",
    "ProveWayBack",
    "RecordBaseline",
    "ShiftReads",
    "SmokeTest",
    "StartServices",
    "StartSync",
    "VerifyData",
    "VerifyVersion",
    "WatchTraffic",
    "account_for_objects",
    "advise_indexes",
    "assess_source",
    "borders",
    "checklist",
    "compare_sides",
    "inspect_databases",
    "inspect_traffic",
    "lint_plan",
    "migrate_schema",
    "observe_edge",
    "read_shifts",
    "reasons",
    "retrospective",
    "schema_changes",
    "schema_difference",
    "schema_path",
    "schema_result",
    "signoffs",
    "step_times",
    "timeline",
    "window",
]

"""The steps of a runbook, one file each; and the looks that change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbook_lib.journal.renamed_steps import CLASSES
from runbook_lib.steps.accounting import account_for_objects
from runbook_lib.steps.apply_ddl import ApplyDdl, schema_changes
from runbook_lib.steps.apply_revision import ApplyRevision
from runbook_lib.steps.archive_source import ArchiveSource
from runbook_lib.steps.backup_source import BackupSource
from runbook_lib.steps.blue_green import phase_steps, phase_steps_table
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
from runbook_lib.steps.command_step import CommandStep
from runbook_lib.steps.copy_history import CopyHistory
from runbook_lib.steps.create_extraction_views import CreateExtractionViews
from runbook_lib.steps.create_target_schemas import CreateTargetSchemas
from runbook_lib.steps.cutover import Cutover
from runbook_lib.steps.decommission_source import DecommissionSource
from runbook_lib.steps.http_step import HttpStep
from runbook_lib.steps.measure_performance import MeasurePerformance
from runbook_lib.steps.migrate_schema import migrate_schema, schema_difference, schema_path, schema_result
from runbook_lib.steps.performance import compare_performance
from runbook_lib.steps.preflight import advise_indexes, assess_source, inspect_databases, inspect_traffic, lint_plan
from runbook_lib.steps.record_baseline import RecordBaseline
from runbook_lib.steps.rehearse_fence import RehearseFence
from runbook_lib.steps.roll_out import roll_out, rollout_minimum, rollout_plan, rollout_result
from runbook_lib.steps.run_tests import RunTests
from runbook_lib.steps.shift_reads import ShiftReads, read_shifts
from runbook_lib.steps.smoke_test import SmokeTest
from runbook_lib.steps.sql_step import SqlStep
from runbook_lib.steps.start_capture import StartCapture
from runbook_lib.steps.start_reverse_capture import StartReverseCapture
from runbook_lib.steps.start_services import StartServices
from runbook_lib.steps.start_spares import StartSpares
from runbook_lib.steps.start_sync import StartSync
from runbook_lib.steps.stop_spares import StopSpares
from runbook_lib.steps.system_steps import system_steps
from runbook_lib.steps.traffic_watch import observe_edge
from runbook_lib.steps.upgrade_instances import UpgradeInstances
from runbook_lib.steps.verify_data import VerifyData, compare_sides
from runbook_lib.steps.verify_fleet import VerifyFleet
from runbook_lib.steps.verify_reverse_mapping import VerifyReverseMapping
from runbook_lib.steps.verify_version import VerifyVersion
from runbook_lib.steps.watch_traffic import WatchTraffic

__all__ = [
    "ApplyDdl",
    "ApplyRevision",
    "ArchiveSource",
    "BackupSource",
    "BuildIndexes",
    "CommandStep",
    "CopyHistory",
    "CreateExtractionViews",
    "CreateTargetSchemas",
    "Cutover",
    "DecommissionSource",
    "HttpStep",
    "MeasurePerformance",
    "RecordBaseline",
    "RehearseFence",
    "RunTests",
    "ShiftReads",
    "SmokeTest",
    "SqlStep",
    "StartCapture",
    "StartReverseCapture",
    "StartServices",
    "StartSpares",
    "StartSync",
    "StopSpares",
    "UpgradeInstances",
    "VerifyData",
    "VerifyFleet",
    "VerifyReverseMapping",
    "VerifyVersion",
    "WatchTraffic",
    "account_for_objects",
    "advise_indexes",
    "assess_source",
    "borders",
    "checklist",
    "compare_performance",
    "compare_sides",
    "inspect_databases",
    "inspect_traffic",
    "lint_plan",
    "migrate_schema",
    "observe_edge",
    "phase_steps",
    "phase_steps_table",
    "read_shifts",
    "reasons",
    "retrospective",
    "roll_out",
    "rollout_minimum",
    "rollout_plan",
    "rollout_result",
    "schema_changes",
    "schema_difference",
    "schema_path",
    "schema_result",
    "signoffs",
    "step_times",
    "system_steps",
    "timeline",
    "window",
]


if not TYPE_CHECKING:  # to a type checker only today's names are right

    def __getattr__(name: str) -> Any:
        """Notebooks and steps that were written before 0.2.0 have the steps' former names."""
        if name in CLASSES:
            return globals()[CLASSES[name]]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

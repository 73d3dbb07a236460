"""The words of a plan: every key, phase, step, check and trigger that may be written, and how people spell them."""

from __future__ import annotations

import re
from pathlib import Path

from runbook_lib.journal.renamed_steps import NAMES, name_today

STRATEGIES = ("dual_write", "move", "blue_green", "rolling")

# What an assessment can find: docs/assessment.md says where, and what to do.
FINDINGS = (
    "zero_dates", "dates", "times", "nan", "negative_zeros", "numbers", "digits", "fractions", "lengths", "nul",
    "encoding", "other_types", "nulls", "duplicates", "orphans", "types", "names", "no_key", "cascades", "triggers",
    "always_triggers", "large_objects", "unlogged", "long_transactions", "prepared_transactions", "engines", "rights",
)  # fmt: skip
# What `accept` takes: later steps carry these out as they are. Everything else they would refuse, or change in silence.
ACCEPTABLE = (
    "negative_zeros", "fractions", "triggers", "always_triggers", "large_objects", "unlogged", "long_transactions",
)  # fmt: skip
ON_BAD_ROW = ("stop", "quarantine")
POLICIES = {"zero_dates": ("error", "null"), "nul": ("error", "strip"), "nan": ("error", "text"),
            "unmapped": ("error", "text")}  # fmt: skip
_FIVE = ("preparation", "gradual_extraction", "data_migration", "cutover", "cleanup")
BLUE_GREEN = ("prepare", "validate", "switch", "watch")  # notebooks/patterns/blue_green.ipynb carries these out
PHASES = {
    "dual_write": _FIVE,
    "move": _FIVE,
    "rolling": (),  # its one notebook stands aside: notebooks/patterns/rolling.ipynb
    "blue_green": (*BLUE_GREEN, "cleanup"),
}
# Steps serve every strategy: the phase of another that says what they ask the plan for.
SAID_IN: dict[str, dict[str, str]] = {
    "dual_write": {"watch": "cutover"},
    "move": {"watch": "cutover"},
    "blue_green": {"gradual_extraction": "switch", "data_migration": "validate", "cutover": "switch"},
}
ARCHIVES = ("parquet",)

CHECKS = ("row_counts", "schemas", "indexes", "constraints", "data_sample", "checksums")
REQUIRE = ("privileges", "column_order")  # reported, and failed where the plan asks for it
# Of a performance comparison: the plan's word, and what a round's measurement calls it.
METRICS = {
    "p50": "p50_ms", "p95": "p95_ms", "p99": "p99_ms", "throughput": "throughput_per_s", "error_rate": "error_rate",
    "cpu": "cpu_share", "memory": "memory_bytes",
}  # fmt: skip
TRIGGERS = ("error_rate", "response_time", "data_inconsistency", "critical_feature_failure")
TRIGGER_SOURCES = ("router", "prometheus", "sql", "http")  # of the first two metrics, and of any other number
TRIGGER_BASELINES = ("past", "neighbour")

SYSTEM_STEPS = ("command_step", "http_step", "sql_step")  # their tasks say what they do: a name alone would not

# A step's name, and words that a sentence about it has: every group must be met by one of its alternatives.
STEP_PHRASES: dict[str, tuple[str, ...]] = {
    "create_target_schemas": (r"creat\w*|set ?up", r"schemas?", r"targets?|new|services?"),
    "enable_writes_to_both": (r"enable|start|turn on", r"writ\w+", r"both|dual"),
    "copy_history": (r"migrat\w*|cop(y|ies)|mov\w+|load|back-?fill", r"histor\w*|existing|bulk"),
    "verify": (r"verif\w*|check|validat\w*|compar\w*", r"consisten\w*|integrity|data"),
    "switch_reads": (r"switch|move|route|direct", r"reads?"),
    "disable_writes_to_source": (r"disable|stop|turn off", r"writ\w+", r"old|source|legacy|monolith"),
    "final_sync": (r"final|last", r"sync\w*"),
    "switch_traffic": (r"updat\w*|switch|change|point", r"dns|load[ -]?balancers?|router?|traffic|prox(y|ies)"),
    "smoke_test": (r"smoke",),
    "watch_traffic": (r"monitor|watch|observe", r"errors?( rates?)?"),
    "archive_source": (r"archiv\w+", r"data|source|tables?"),
    "decommission_source": (r"decommission|retire|shut ?down", r"system|source|monolith|environment|blue"),
}

# A plan's word that is carried out by a step of another name, beside those that had the step's former name.
_CARRIED_OUT_BY = {
    "verify": "verify_data",
    "switch_reads": "shift_reads",
    "final_sync": "cutover",
    "switch_traffic": "cutover",
}


def library_steps() -> tuple[str, ...]:
    """Names that `step:` may have: the ones above, and every module in `runbook_lib/steps` that holds a step.

    The modules are read, not imported: steps are four layers above the plan.
    """
    folder = Path(__file__).parent.parent / "steps"
    modules = {path.stem: path.stem.title().replace("_", "") for path in folder.glob("*.py")}
    for name in SYSTEM_STEPS:
        modules.pop(name, "")
    steps = {name for name, kind in modules.items() if f"class {kind}:" in (folder / f"{name}.py").read_text("utf-8")}
    return tuple(sorted({*STEP_PHRASES, *NAMES, *steps}))


def carried_out_by(word: str) -> str:
    """The name of the step that a plan's word stands for."""
    return name_today(_CARRIED_OUT_BY.get(word, word))


def step_of(sentence: str) -> str:
    """The library's step that a sentence is about; empty when it is about none."""
    text = sentence.lower()
    for name, groups in STEP_PHRASES.items():
        if all(re.search(rf"\b(?:{group})\b", text) for group in groups):
            return name
    return ""


def snake(text: str) -> str:
    """A name as an identifier: "Response time" is response_time, "2_gradual-extraction" gradual_extraction."""
    return re.sub(r"[\s-]+", "_", re.sub(r"^\d+[._\s-]*", "", text.strip())).lower()

"""Every key of a plan, by section: the loader, the model's defaults and docs/writing-a-plan.md come from here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runbook_lib.plan import vocabulary
from runbook_lib.plan.amounts import Amount, read_amount, read_instances
from runbook_lib.plan.key import Key, Kind, Section
from runbook_lib.plan.names import read_expressions, read_name, read_names, read_names_by_name
from runbook_lib.plan.system_values import (
    read_address,
    read_command,
    read_headers,
    read_method,
    read_pattern,
    read_retries,
    read_rows,
    read_status,
    read_tests,
    read_title,
)
from runbook_lib.plan.units import read_count, read_duration, read_percentages, read_share
from runbook_lib.plan.window import Window, read_window
from runbook_lib.plan.yaml_value import Value


def _texts(value: Value, what: str) -> tuple[str, ...]:
    return tuple(item.text(what) for item in value.items(what))


def _service_names(value: Value, what: str) -> tuple[str, ...]:
    return tuple(text for text, _ in value.texts(what))  # one, or several


def _statements(value: Value, what: str) -> tuple[str, ...]:
    del what
    return tuple(item.verbatim("a statement") for item in value.items("statements"))  # a literal keeps its spaces


def _on_bad_row(value: Value, what: str) -> str:
    return value.word(text := value.text(what), vocabulary.ON_BAD_ROW, f"{what} is `{text}`")


def _archive(value: Value, what: str) -> str:
    text = value.text(what).lower()
    if text not in vocabulary.ARCHIVES:
        raise value.error(f"{what} is `{text}`", expected=" or ".join(vocabulary.ARCHIVES))
    return text


def _metrics(value: Value, what: str) -> tuple[str, ...]:
    named = [at.word(text, vocabulary.METRICS, f"unknown metric `{text}`") for text, at in value.texts(what)]
    if not named:
        raise value.error("no metric", expected="one of " + ", ".join(vocabulary.METRICS))
    return tuple(vocabulary.METRICS[name] for name in dict.fromkeys(named))


def _looks(value: Value, what: str) -> tuple[int, ...]:
    found = tuple(read_count(item, what) for item in value.items(what))
    if not found or found[0] < LEAST_ROUNDS or sorted(set(found)) != list(found):
        text = ", ".join(map(str, found)) or "empty"
        raise value.error(f"{what} is {text}", expected=f"counts that rise, from {LEAST_ROUNDS}, e.g. [30, 100, 300]")
    return found


def _flag(value: Value, what: str) -> bool:
    return value.word(value.text(what).lower(), ("true", "false"), f"{what} is `{value.text(what)}`") == "true"


def _source(value: Value, what: str) -> str:
    return value.word(text := value.text(what), vocabulary.TRIGGER_SOURCES, f"unknown {what} `{text}`")


def _baseline(value: Value, what: str) -> str:
    return value.word(text := value.text(what), vocabulary.TRIGGER_BASELINES, f"{what} is `{text}`")


def _apis(value: Value, what: str) -> tuple[str, ...]:
    found = value.texts(what)
    for text, at in found:
        if not re.fullmatch(r"/[^\s?#*]*\*?", text):
            raise at.error(f"api `{text}`", expected="a path such as /api/users/*")
    return tuple(text for text, _ in found)


LEAST_ROUNDS = 6  # fewer pairs say nothing: three of three are worse by chance once in eight times


def _one_of(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)


TEXT = Kind("text", Value.text)
TEXTS = Kind("list of texts", _texts)
COUNT = Kind("count", read_count)
DURATION = Kind("duration", read_duration, "_s")
SHARE = Kind("percentage", read_share)
NAME = Kind("name", read_name)
# What stands below is read by a function of its own, for it depends on more than its value.
MAPPING: Kind[Any] = Kind("mapping")
LIST: Kind[Any] = Kind("list")

# -- the plan itself ---
MIGRATION = Key("migration", TEXT, "the title", "", required=True)
STRATEGY = Key(
    "strategy",
    Kind[str](_one_of(vocabulary.STRATEGIES)),
    "`move` needs no rollback path, and its reads do not move in stages; `rolling` upgrades fleets; `blue_green`: "
    "[blue-green.md](blue-green.md)",
    "dual_write",
    also=("migration_strategy",),
)
SOURCE = Key("source", TEXT, "the source's name in the inventory", "source")
SERVICES = Key("services", MAPPING, "what leaves the source", (), "an error, but beside `schema`")
PHASES = Key("phases", LIST, "what happens, in order", (), "an error, but beside `schema`")
VALIDATION = Key("validation", MAPPING, "tolerated differences, and what else is required", None, "none is tolerated")
PERFORMANCE = Key("performance", MAPPING, "workload, tolerance, metrics, rounds", None, "10%, no workload")
ROLLBACK_TRIGGERS = Key("rollback_triggers", LIST, "when to go back", (), stored_as="triggers")
CHECKLIST = Key("checklist", MAPPING, "notes on the ten items, and your own", (), "the ten items with their probes")
SUCCESS_CRITERIA: Key[tuple[str, ...]] = Key(
    "success_criteria", TEXTS, "sentences that the pre-flight shows", (), "none"
)
NOTIFY: Key[tuple[str, ...]] = Key("notify", TEXTS, "notification targets of the inventory", (), "nobody")
TYPES = Key("types", MAPPING, "type of a target column, and how values without an equivalent are handled", {})
LINT = Key(
    "lint",
    MAPPING,
    "how hazards in schema revisions are handled, by rule",
    {},
    "[schema-changes.md](schema-changes.md)",
)
ON_BAD_ROW = Key("on_bad_row", Kind(_one_of(vocabulary.ON_BAD_ROW), _on_bad_row), "a row that a target refuses", "stop")
QUARANTINE_LIMIT = Key("quarantine_limit", COUNT, "rows of a service that may be quarantined; one more stops", 1_000)
SCHEMA = Key("schema", MAPPING, "revisions that the source's schema is taken along: a plan may be nothing else", None)
ROLLING = Key("rolling", MAPPING, "fleets that are upgraded, in order: such a plan moves nothing", ())
ACCEPT = Key("accept", LIST, "findings of the assessment that are taken as they are", (), stored_as="accepted")
PLAN = Section(
    (
        *(MIGRATION, STRATEGY, SOURCE, SERVICES, PHASES, VALIDATION, PERFORMANCE, ROLLBACK_TRIGGERS, CHECKLIST),
        *(SUCCESS_CRITERIA, NOTIFY, TYPES, LINT, ON_BAD_ROW, QUARANTINE_LIMIT, SCHEMA, ROLLING, ACCEPT),
    )
)

# -- a service, and a table of it ---
DATABASE = Key("database", TEXT, "a database of the inventory", "", "the service's name")
APIS: Key[tuple[str, ...]] = Key("apis", Kind("paths", _apis), "what the router sends to it", (), also=("api",))
TABLES = Key("tables", LIST, "its tables", (), "an error", also=("data",))
SERVICE_AFTER: Key[tuple[str, ...]] = Key(
    "after", Kind("services", _service_names), "services that it needs: started before it, stopped after it", ()
)
SERVICE = Section((DATABASE, APIS, TABLES, SERVICE_AFTER))

FROM = Key("from", NAME, "the table of the source", "", "the same name", stored_as="source")
KEY = Key("key", Kind("columns", read_names_by_name), "target column: source column, of a derived table", {})
COLUMNS = Key("columns", Kind("SQL", read_expressions), "target column: expression of the source", {}, "every column")
REVERSE = Key("reverse", Kind("SQL", read_expressions), "source column: expression of the target, to go back", {})
EXCEPT: Key[tuple[str, ...]] = Key(
    "except",
    Kind("names", read_names),
    "source columns that the target does not get",
    (),
    also=("omit",),
    stored_as="omit",
)
WHERE = Key("where", Kind("SQL", Value.text), "condition over the source; rows outside stay behind", "", "every row")
TABLE = Section((FROM, KEY, COLUMNS, REVERSE, EXCEPT, WHERE))

# -- a phase, and a task of it ---
PHASE_DURATION = Key("duration", DURATION, "how long it is planned to take; shown to people", 0.0)
TASKS = Key("tasks", LIST, "sentences for people, who sign them off; `{step: …}` for the library", ())
STEPS = Key("steps", LIST, "steps that must have run, by name or in words", ())
TRAFFIC: Key[tuple[int, ...]] = Key(
    "traffic", Kind("percentages", read_percentages), "stages of the reads, rising to 100%", (),
    phases=("gradual_extraction", "switch"),
)  # fmt: skip
WINDOW: Key[Window | None] = Key(
    "window",
    Kind("window", read_window),
    "when the cutover may fence the source; outside it is refused (policy `window: enforce`)",
    None,
    phases=("cutover", "switch"),
)
MAX_WRITE_PAUSE = Key(
    "max_write_pause", DURATION, "longer: the cutover aborts and everything is as before", 1.0,
    phases=("cutover", "switch"), options={"cutover": "max_write_pause_s", "switch": "max_write_pause_s"},
)  # fmt: skip
WATCH = Key(
    "watch", DURATION, "how long the rollback triggers are watched: at each stage, or after the switch", 0.0,
    phases=("gradual_extraction", "cutover", "switch", "watch"),
    options={"gradual_extraction": "step_watch_s", "switch": "step_watch_s", "cutover": "watch_s", "watch": "watch_s"},
)  # fmt: skip
PHASE_SERVICES = Key("services", MAPPING, "services, as at the top", (), phases=("gradual_extraction",))
PHASE_STRATEGY = Key("strategy", STRATEGY.kind, "as at the top", "", phases=("data_migration",))
AFTER = Key(
    "after", DURATION, "until then the rollback path stays open", 0.0,
    phases=("cleanup",), also=("delay", "stability_period"), options={"cleanup": "after_s"},
)  # fmt: skip
ARCHIVE = Key("archive", Kind(_one_of(vocabulary.ARCHIVES), _archive), "form of the archive", "", phases=("cleanup",))
TESTS: Key[tuple[str, ...]] = Key(
    "tests", Kind("command", read_tests), "all tests of what is new, before any traffic: exit status 0 is passed", (),
    phases=("validate",),
)  # fmt: skip
TESTS_TIMEOUT = Key(
    "tests_timeout", DURATION, "longer: they are ended, and have not passed", 600.0, phases=("validate",)
)
PHASE = Section(
    (
        *(PHASE_DURATION, TASKS, STEPS, TRAFFIC, WINDOW, MAX_WRITE_PAUSE, WATCH),
        *(PHASE_SERVICES, PHASE_STRATEGY, AFTER, ARCHIVE, TESTS, TESTS_TIMEOUT),
    )
)

STEP = Key("step", Kind[str]("step"), "a step of the library", "", "an error, but beside one of those below")
STATEMENTS: Key[tuple[str, ...]] = Key(
    "statements", Kind("list of SQL", _statements), "what `apply_ddl` runs at the source", ()
)
COMMAND = Key("command", MAPPING, "a system step that runs commands", None)
HTTP = Key("http", MAPPING, "a system step that sends HTTP requests", None)
SQL = Key("sql", MAPPING, "a system step that runs SQL in one transaction", None)
TASK = Section((STEP, STATEMENTS, COMMAND, HTTP, SQL))

# -- system steps ---
_NO_CHECK, _NO_ROLLBACK = "nothing is asked", "it cannot be undone: it needs an approval of its own"


def _acts(act: Kind[Any], question: Kind[Any], verifies: str, no_act: Any, no_question: Any) -> tuple[Key[Any], ...]:
    """The four acts of a step."""
    return (
        Key("apply", act, "what it does; not done where `verify` passes already", no_act, required=True),
        Key("verify", question, f"whether it is so, {verifies}; asked before, after, and after an undo", no_question,
            required=True),
        Key("check", question, "what must be so before it does anything", no_question, _NO_CHECK),
        Key("rollback", act, "undoes it, also half of it, also twice", no_act, _NO_ROLLBACK),
    )  # fmt: skip


TASK_NAME = Key("name", Kind("name", read_title), "names the step, as in `command_step:NAME`", "", required=True)
ON = Key("on", TEXT, "a service of the inventory, whose `{name}` and `{url}` may be written", "")
_COMMAND = Kind("command", read_command)
COMMAND_KEYS = Section(
    (
        TASK_NAME,
        *_acts(_COMMAND, _COMMAND, "by its exit status: 0 yes, 1 to 125 no, else it could not be asked", (), ()),
        ON,
        Key("timeout", DURATION, "of each command; longer: its process group is ended", 60.0),
    )
)
HEADERS = Key("headers", Kind("mapping", read_headers), "a secret is a reference: `Bearer env:TOKEN`", {})
REQUEST = Section(
    (
        Key("url", Kind("address", read_address), "`https://…` or `{url}/…`", "", required=True),
        Key("method", Kind("method", read_method), "GET, HEAD, POST, PUT, PATCH or DELETE", "GET"),
        HEADERS,
        Key("body", Kind("text", Value.verbatim), "what is sent", ""),
        Key("status", Kind("status", read_status), "the status that is expected", 0, "any 2xx"),
        Key("match", Kind("pattern", read_pattern), "regular expression that the answer's body must hold", ""),
    )
)
_REQUEST = Kind[Mapping[str, Any]]("request", lambda value, what: REQUEST.complete(value, what, f"request {what}"))
HTTP_KEYS = Section(
    (
        TASK_NAME,
        *_acts(_REQUEST, _REQUEST, "by its answer", {}, {}),
        ON,
        Key("timeout", DURATION, "of each request", 10.0),
        Key("retries", Kind("count", read_retries), "how often a request is sent again that failed, later each time; "
            "`apply` only while `verify` does not pass", 0),
    )
)  # fmt: skip
QUERY = Section(
    (
        Key("query", Kind("SQL", Value.verbatim), "one that only reads", "", required=True),
        Key("rows", Kind("list of rows", read_rows), "what it must answer, in order", (), required=True),
    )
)
_QUERY = Kind[Mapping[str, Any]]("query", lambda value, what: QUERY.complete(value, what, f"query {what}"))
SQL_KEYS = Section(
    (
        TASK_NAME,
        Key("database", TEXT, "a database of the inventory", "", required=True),
        *_acts(Kind("list of SQL", _statements), _QUERY, "by its rows, once more before the commit", (), {}),
    )
)

# -- validation, accepted findings, performance, lint, schema ---
TOLERATE = Key("tolerate", LIST, "differences that are wanted", (), stored_as="tolerances")
REQUIRE: Key[tuple[str, ...]] = Key(
    "require", Kind(f"list of {_one_of(vocabulary.REQUIRE)}"), "what fails; it is only reported otherwise", ()
)
VALIDATION_KEYS = Section((TOLERATE, REQUIRE))

_ANY = "any"
TOLERANCE = Section(
    (
        Key("check", TEXT, "one of the six checks", "", required=True),
        Key("service", TEXT, "a service of the plan", "", _ANY),
        Key("table", TEXT, "a table of it, or of the source", "", _ANY),
        Key("column", TEXT, "a column of it", "", _ANY),
        Key("name", TEXT, "an index or constraint", "", _ANY),
        Key("kind", TEXT, "the kind of the difference, as the report calls it", "", _ANY),
        Key("because", TEXT, "the reason", "", required=True),
    )
)
ACCEPTANCE = Section(
    (
        Key("finding", TEXT, "its kind ([assessment.md](assessment.md))", "", required=True),
        Key("table", TEXT, "a table of the source", "", _ANY),
        Key("because", TEXT, "the reason", "", required=True),
    )
)
PERFORMANCE_TOLERANCE = Key("tolerance", SHARE, "how much slower a service may be than the source", 0.10)
WORKLOAD = Key("workload", TEXT, "the workload's file, relative to parameters/", "", "no workload")
METRICS: Key[tuple[str, ...]] = Key(
    "metrics", Kind(f"list of {_one_of(tuple(vocabulary.METRICS))}", _metrics), "what is compared",
    tuple(vocabulary.METRICS.values()), "all of them; one that is not measured does not pass",
)  # fmt: skip
ROUNDS: Key[tuple[int, ...]] = Key(
    "rounds", Kind("list of counts", _looks), "pairs of rounds after which the metrics are judged",
    (30, 100, 300), "[30, 100, 300]",
)  # fmt: skip
PERFORMANCE_KEYS = Section((PERFORMANCE_TOLERANCE, WORKLOAD, METRICS, ROUNDS))
LINT_RULE = Section(
    (
        Key("policy", TEXT, "`refuse`, `approve`, `warn` or `off`", "", required=True),
        Key("because", TEXT, "the reason", "", required=True),
    )
)
TRIGGER = Section(
    (
        Key("trigger", TEXT, "metric and limit, as `error_rate > 1%`", "", required=True, stored_as="text"),
        Key(
            "source", Kind(_one_of(vocabulary.TRIGGER_SOURCES), _source), "who is asked; any metric but the router's",
            "router",
        ),
        Key("query", TEXT, "`prometheus`: PromQL; `sql`: a SELECT of one number, and of its time if it has one", ""),
        Key("database", TEXT, "`sql`: a database of the inventory", ""),
        Key("url", TEXT, "`http`: where the JSON is", ""),
        Key("value", TEXT, "`http`: the number in it, as `queue.depth`", ""),
        Key("at", TEXT, "`http`: its time in it (seconds since the epoch, or ISO 8601)", "", "when it was answered"),
        Key("window", DURATION, "over which it is judged; what is older was not measured", 10.0),
        Key("samples", COUNT, "fewer in the window is too few: requests of the router, answers of others", 0,
            "option `min_requests`; 3 answers"),
        Key("confirm", COUNT, "readings above the limit in a row before it fires", 0, "3; `data_inconsistency` 1"),
        Key("clear", SHARE, "what fires no more is under this part of its limit", 0.8),
        Key("baseline", Kind(_one_of(vocabulary.TRIGGER_BASELINES), _baseline),
            "`neighbour`: while reads go to both, the new backend against the old one now; `past` otherwise", "past"),
        Key("dry_run", Kind("true or false", _flag), "it is only shown", False, "`false`"),
    )
)  # fmt: skip
REVISIONS = Key("revisions", TEXT, "the folder of the revisions, relative to parameters/", "revisions")
TO = Key("to", TEXT, "a version, the beginning of one, or `head`", "head")
SCHEMA_KEYS = Section((REVISIONS, TO))

# -- rolling: a fleet ---
_AMOUNT: Kind[Amount] = Kind("count, or percentage of the fleet", read_amount)
_LEAST: Kind[Amount | None] = Kind("count, or percentage of the fleet", read_amount)
_INSTANCES = Kind("count", read_instances)
RELEASE = Key("version", TEXT, "the release, `{version}` in the inventory's commands", "", required=True)
BATCH = Key("batch", _AMOUNT, "instances that are out of rotation at a time", Amount(1), "1")
SURGE = Key("surge", _INSTANCES, "spares of the inventory that are in rotation meanwhile, with the old release", 0, "0")
MIN_HEALTHY = Key("min_healthy", _LEAST, "instances that stay healthy and in rotation, spares among them", None,
    "all but a batch")  # fmt: skip
CANARY = Key("canary", _INSTANCES, "instances that go first, one at a time", 0, "0")
MONITOR = Key("monitor", DURATION, "how long health and rollback triggers are watched after each batch", 60.0,
    options={"rolling": "monitor_s"})  # fmt: skip
ROLLING_KEYS = Section((RELEASE, BATCH, SURGE, MIN_HEALTHY, CANARY, MONITOR))

# -- checklist ---
TITLE = Key("title", TEXT, "what it asks; required for an item of your own", "", "the item's own")
PROBE = Key("probe", TEXT, "what answers for it: a probe, or `signoff` for a person", "", "the item's own")
NOTE = Key("note", TEXT, "a note for the reader", "")
CHECKLIST_ITEM = Section((TITLE, PROBE, NOTE))

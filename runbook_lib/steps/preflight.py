"""The looks of the pre-flight: plan, databases, traffic, checklist. They change nothing."""

from __future__ import annotations

from runbook_lib.assessment import Assessment, assess
from runbook_lib.databases.port import Database, Problem
from runbook_lib.errors import RunbookError
from runbook_lib.plan.lint import lint
from runbook_lib.plan.phase_order import ROLLBACK
from runbook_lib.run.context import RunContext
from runbook_lib.schema.index_advisor import IndexAdvice, advise
from runbook_lib.services.streak import ANSWERS
from runbook_lib.steps.check_table import Findings, findings, look
from runbook_lib.steps.routes_and_links import origin, shares, targets, writes
from runbook_lib.steps.verify_fleet import fleet_rows
from runbook_lib.verdict import Outcome, Verdict

MOVES_TRAFFIC = ("gradual_extraction", "data_migration", "cutover", "switch", "cleanup")


@look("plan_linted", "Pitfalls")
def lint_plan(run: RunContext) -> Findings:
    """The five pitfalls, looked for in the plan itself."""
    problems = lint(run.plan)
    rows = [(problem.subject, problem.text, problem.action) for problem in problems]
    header = ("pitfall", "what was found", "what to do")
    return findings(run, "plan_linted", "Pitfalls", header, rows, problems, "none of the five was found in the plan")


@look("databases_inspected", "Databases")
def inspect_databases(run: RunContext) -> Findings:
    """Every database: reachable, of a known version, writable where it must be, with the privileges of its role."""
    every = [("source", run.source), *(("target", database) for database in targets(run).values())]
    rows, problems = [], []
    for role, database in every:
        try:
            facts = database.facts()
            problems += [p for p in database.privileges_missing(role) if "finding" not in p.detail]
            problems += _missing(run, role, database)
            size = f"{facts.size_bytes / 1e6:,.0f} MB"
            rows.append((database.name, role, facts.version_text, facts.encoding, size, database.masked_url))
        except RunbookError as error:
            problems.append(Problem(database.name, str(error)))
            rows.append((database.name, role, "–", "–", "–", database.masked_url))
    header = ("database", "role", "version", "encoding", "size", "where")
    return findings(run, "databases_inspected", "Databases", header, rows, problems, f"{len(every)} databases answer")


@look("source_assessed", "Assessment")
def assess_source(run: RunContext) -> Assessment | Findings:
    """The source's pitfalls, with what the plan has to declare; the gate demands that none is left open."""
    try:
        found = assess(run.plan, run.source, targets(run), rights=False)
    except RunbookError as error:
        run.verdict("source_assessed", Verdict(Outcome.COULD_NOT_RUN, str(error)))
        raise
    run.verdict("source_assessed", found.verdict())
    return found


def advise_indexes(run: RunContext) -> IndexAdvice:
    """The source's unused, redundant and missing indexes, as revisions that nobody carries out unasked."""
    return advise(run.source)


@look("traffic_inspected", "Routes")
def inspect_traffic(run: RunContext) -> Findings:
    """The router's routes now: before a migration, and after a rollback, the source's service has all the writes.

    A plan that moves no traffic needs no router.
    """
    if not run.environment.router_settings:
        return _no_traffic(run)
    if run.plan.rolling:
        return _fleets(run)
    routes = run.router.routes()
    rows = [
        (name, ", ".join(f"{backend} {weight} %" for backend, weight in state.weights.items() if weight))
        for name, state in sorted(routes.items())
    ]
    missing = [writes(s) for s in run.plan.services if writes(s) not in routes]
    problems = [Problem(name, "the router has no such route", "add it to the router") for name in missing]
    for service in run.plan.services:
        weights = shares(routes[writes(service)]) if not missing else {}
        if weights and weights != {origin(run): 100}:
            problems.append(Problem(writes(service), f"goes to {', '.join(weights)}, not to {origin(run)}"))
    problems += [Problem(f"router {run.router.name}", text, "see docs/routers.md") for text in run.router.problems()]
    health = run.service(origin(run)).health()
    if not health.ok:
        problems.append(Problem(origin(run), f"is not healthy: {health.text}", "start it, or read its log"))
    return findings(
        run, "traffic_inspected", "Routes", ("route", "goes to"), rows, problems, f"all writes go to {origin(run)}"
    )


def _fleets(run: RunContext) -> Findings:
    """Every instance of the plan's fleets has its part of the requests."""
    rows = [row for goal in run.plan.rolling for row in fleet_rows(run, goal.service)]
    problems = [Problem(name, said, "start it, or read its log") for name, said, _, _ in rows if said != ANSWERS]
    problems += [Problem(name, "is out of rotation", "see docs/rolling.md") for name, _, share, _ in rows if not share]
    header = ("instance", "health", "percent of the requests", "release")
    return findings(run, "traffic_inspected", "Routes", header, rows, problems, f"{len(rows)} instances in rotation")


def _no_traffic(run: RunContext) -> Findings:
    """Without a router: nothing to see, unless phases of the plan are still to switch traffic by one."""
    switching = [phase.name for phase in run.plan.phases if phase.name in MOVES_TRAFFIC and run.phase != ROLLBACK]
    text = "the inventory has no router: "
    problems = [Problem("traffic", f"{text}{', '.join(switching)} would switch traffic by one", "add `router:`")]
    fine = f"{text}this run moves no traffic"
    return findings(run, "traffic_inspected", "Routes", ("route", "goes to"), [], problems if switching else [], fine)


def _missing(run: RunContext, role: str, database: Database) -> list[Problem]:
    """Planned tables that are not there; what else may be wrong with them is the assessment's to say."""
    wanted = sorted({mapping.source for service in run.plan.services for mapping in service.tables})
    catalog = database.catalog() if role == "source" else dict.fromkeys(wanted)
    return [Problem(f"{database.name}.{table}", "no such table") for table in wanted if table not in catalog]

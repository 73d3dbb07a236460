"""Loading a plan: the whole grammar, the shapes in the wild, and one clear line for every mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from nightly import EVERY

from runbook_lib.errors import PlanError
from runbook_lib.plan.load import load_plan
from runbook_lib.plan.load_sections import CHECKLIST, PROBES
from runbook_lib.plan.model import Plan, Task, Trigger

PLANS = Path(__file__).parents[2] / "parameters" / "plans"

PLAN = """\
migration: Shop to services
strategy: dual_write
source: shop
services:
  account_service:
    database: accounts_db
    apis: [/api/accounts/*, /api/login]
    tables:
      - accounts: {except: [colour, mails]}
      - settings:
          from: accounts
          key: {account_id: id}
          columns: {colour: "coalesce(colour, 'blue')", mails: mails}
          reverse: {colour: colour, mails: mails}
  stock_service:
    database: stock_db
    apis: /api/stock/*
    tables: [articles, {shelves: {from: racks, where: "site = 'here'"}}]
phases:
  - preparation: {duration: 2 weeks, tasks: [Agree the borders, {step: create_target_schemas}]}
  - gradual_extraction: {traffic: [1%, 10%, 50%, 100%], watch: 30 min}
  - data_migration: {steps: [enable_writes_to_both, copy_history, verify, switch_reads, disable_writes_to_source]}
  - cutover: {window: "Sunday 02:00-06:00 Europe/Berlin", max_write_pause: 500 ms, watch: 10 min}
  - cleanup: {after: 30 days, archive: parquet}
validation:
  tolerate: [{check: schemas, table: accounts, column: flag, kind: missing_on_target, because: dropped by design}]
performance: {tolerance: 10%, workload: plans/workload.yaml, metrics: [p95, cpu], rounds: [6, 20]}
rollback_triggers: [error_rate > 1%, response_time > 2x baseline, data_inconsistency, critical_feature_failure]
checklist: {stakeholders_notified: the two teams}
success_criteria: [Nothing is lost]
notify: [team]
"""

# The same shape as the plans that people write for people: numbered phases, words, services inside a phase.
WILD = """\
migration: Old shop into services

phases:
  1_preparation:
    duration: 3 weeks
    tasks:
      - Draw the borders of the services
      - Order the machines

  2_gradual_extraction:
    duration: 2 months and more
    services:
      - account_service:
          data: accounts, logins
          apis: /api/accounts/*, /api/login/*
      - stock_service:
          data: articles
          apis: /api/stock/*

  3_data_migration:
    strategy: dual_write
    steps:
      - Turn on writing to both databases
      - Copy the existing rows
      - Compare the data
      - Route reads to the new services
      - Stop writes to the legacy database

  4_cutover:
    window: Saturday 10pm-2am
    steps:
      - Last sync of the data
      - Point the load balancer to the services
      - Smoke tests
      - Watch the error rates
      - Tell the call centre

  5_cleanup:
    delay: 30 days
    tasks:
      - Switch the old machine off

rollback_triggers:
  - Error rate > 0.5%
  - Response time > 3x baseline
  - Data inconsistency detected
  - Critical feature failure
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def load(tmp_path: Path, text: str) -> Plan:
    return load_plan(write(tmp_path, text))


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(PlanError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_status == 2
    return message.removeprefix(str(tmp_path) + "/")


def test_the_whole_grammar_is_loaded(tmp_path: Path) -> None:
    plan = load(tmp_path, PLAN)
    accounts, settings = plan.service("account_service").tables
    assert (plan.migration, plan.strategy, plan.source) == ("Shop to services", "dual_write", "shop")
    assert accounts.omit == ("colour", "mails")
    assert not accounts.derived
    assert settings.derived
    assert settings.source == "accounts"
    assert settings.key == {"account_id": "id"}
    assert settings.columns["colour"] == "coalesce(colour, 'blue')"
    shelves = plan.service("stock_service").tables[1]
    assert (shelves.target, shelves.source, shelves.where) == ("shelves", "racks", "site = 'here'")
    assert plan.service("stock_service").apis == ("/api/stock/*",)
    assert plan.phase("preparation").duration_s == 14 * 86400
    assert plan.phase("preparation").tasks[1].step == "create_target_schemas"
    assert plan.phase("gradual_extraction").traffic == (1, 10, 50, 100)
    cutover = plan.phase("cutover")
    assert (cutover.max_write_pause_s, cutover.watch_s) == (0.5, 600.0)
    assert cutover.window
    assert (cutover.window.days, cutover.window.start, cutover.window.timezone) == ((6,), "02:00", "Europe/Berlin")
    assert (plan.phase("cleanup").after_s, plan.phase("cleanup").archive) == (30 * 86400, "parquet")
    assert plan.tolerances[0].because == "dropped by design"
    assert (plan.performance.tolerance, plan.performance.workload) == (0.10, "plans/workload.yaml")
    assert (plan.performance.metrics, plan.performance.rounds) == (("p95_ms", "cpu_share"), (6, 20))
    assert plan.triggers[0] == Trigger("error_rate", 0.01, text="error_rate > 1%", line=plan.triggers[0].line)
    assert plan.triggers[1].relative_to_baseline
    assert plan.triggers[1].threshold == 2.0
    assert plan.notify == ("team",)
    assert len(plan.digest) == 64


def test_the_demo_s_plan_loads() -> None:
    plan = load_plan(PLANS / "monolith_to_microservices.yaml")
    assert [service.name for service in plan.services] == ["user_service", "order_service", "payment_service"]
    assert [phase.name for phase in plan.phases][-1] == "cleanup"
    assert {trigger.metric for trigger in plan.triggers} >= {"error_rate", "data_inconsistency"}


def test_a_plan_in_the_shape_of_the_wild_loads(tmp_path: Path) -> None:
    plan = load(tmp_path, WILD.replace("2 months and more", "8 weeks"))
    assert [phase.name for phase in plan.phases] == [
        "preparation",
        "gradual_extraction",
        "data_migration",
        "cutover",
        "cleanup",
    ]
    assert [(s.name, [t.target for t in s.tables]) for s in plan.services] == [
        ("account_service", ["accounts", "logins"]),
        ("stock_service", ["articles"]),
    ]
    assert plan.services[0].apis == ("/api/accounts/*", "/api/login/*")
    assert plan.phase("data_migration").steps == (
        "enable_writes_to_both",
        "copy_history",
        "verify",
        "switch_reads",
        "disable_writes_to_source",
    )
    assert plan.phase("cutover").steps == ("final_sync", "switch_traffic", "smoke_test", "watch_traffic")
    assert plan.phase("cutover").tasks == (Task("Tell the call centre", line=36),)
    window = plan.phase("cutover").window
    assert window
    assert (window.days, window.start, window.end, window.timezone) == ((5,), "22:00", "02:00", "UTC")
    assert plan.phase("cleanup").after_s == 30 * 86400
    assert [(t.metric, t.threshold) for t in plan.triggers] == [
        ("error_rate", 0.005),
        ("response_time", 3.0),
        ("data_inconsistency", 0.0),
        ("critical_feature_failure", 0.0),
    ]


def test_phases_of_sentences_only_load(tmp_path: Path) -> None:
    text = """\
migration: New version beside the old one
migration_strategy: move
services: {stock: {database: stock_db, tables: [articles]}}
phases:
  - preparation: [Put the new version on green, Run the smoke tests on green]
  - cutover: [Point the load balancer to green]
  - cleanup: [Take blue down later]
"""
    plan = load(tmp_path, text)
    assert plan.strategy == "move"
    assert plan.phase("preparation").steps == ("smoke_test",)
    assert plan.phase("preparation").tasks[0].text == "Put the new version on green"
    assert plan.phase("cutover").steps == ("switch_traffic",)


def test_the_ten_checklist_items_are_there_unless_the_plan_says_otherwise(tmp_path: Path) -> None:
    plan = load(tmp_path, PLAN)
    assert len(CHECKLIST) == len(set(PROBES)) == 10
    assert [item.name for item in plan.checklist] == [item.name for item in CHECKLIST]
    assert {item.name: item.note for item in plan.checklist}["stakeholders_notified"] == "the two teams"
    own = "checklist: {tested_in_staging: {probe: signoff}, lawyers_agree: {title: The lawyers agree}}"
    items = {item.name: item for item in load(tmp_path, PLAN.replace("checklist:", "#") + own + "\n").checklist}
    assert items["tested_in_staging"].probe == ""
    assert items["lawyers_agree"].title == "The lawyers agree"


def test_comments_order_and_spelling_do_not_change_the_digest(tmp_path: Path) -> None:
    first = load(tmp_path, PLAN).digest
    lines = PLAN.splitlines()
    moved = "# a comment\n" + "\n".join([*lines[1:], lines[0]]) + "\n"
    assert load(tmp_path, moved).digest == first
    other = PLAN.replace("500 ms", "0.5s").replace("/api/stock/*", "[/api/stock/*]").replace("- cleanup", "- 5_cleanup")
    other = other.replace("after: 30 days", "delay: 720 h")
    other = other.replace("error_rate > 1%", "Error rate > 1%").replace("02:00-06:00", "2am-6am")
    assert load(tmp_path, other).digest == first


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("500 ms", "501 ms"),
        ("except: [colour, mails]", "except: [colour]"),
        ("coalesce(colour, 'blue')", "coalesce(colour, 'red')"),
        ("Sunday", "Saturday"),
        ("> 1%", "> 2%"),
        ("the two teams", "the three teams"),
        ("Nothing is lost", "Little is lost"),
        ("because: dropped by design", "because: forgotten"),
        ("metrics: [p95, cpu]", "metrics: [p95]"),
        ("rounds: [6, 20]", "rounds: [6, 30]"),
    ],
)
def test_another_content_has_another_digest(tmp_path: Path, was: str, becomes: str) -> None:
    assert was in PLAN
    assert load(tmp_path, PLAN.replace(was, becomes)).digest != load(tmp_path, PLAN).digest


def test_a_trigger_says_its_source_and_how_it_is_judged(tmp_path: Path) -> None:
    more = "{trigger: queue > 1_500, source: http, url: 'http://h', value: a.b, at: t, window: 1 min, dry_run: true}"
    plan = load(tmp_path, PLAN.replace("[error_rate > 1%", f"[{more}, error_rate > 1%"))
    found = plan.triggers[0]
    assert (found.metric, found.threshold, found.source, found.window_s) == ("queue", 1500.0, "http", 60.0)
    assert (found.url, found.value, found.at, found.dry_run, found.clear) == ("http://h", "a.b", "t", True, 0.8)
    same = load(tmp_path, PLAN.replace("[error_rate > 1%", "[{trigger: error_rate > 1%, window: 10s}"))
    assert same.digest == load(tmp_path, PLAN).digest


MISTAKES = [
    ("metrics: [p95, cpu]", "metrics: [p95, cpuu]", "plan.yaml:27: unknown metric `cpuu`", "write `cpu`"),
    ("metrics: [p95, cpu]", "metrics: []", "plan.yaml:27: no metric", "p50, p95"),
    ("rounds: [6, 20]", "rounds: [5, 20]", "plan.yaml:27: rounds is 5, 20", "from 6"),
    ("rounds: [6, 20]", "rounds: [20, 6]", "plan.yaml:27: rounds is 20, 6", "that rise"),
    (
        "[error_rate > 1%",
        "[{trigger: error_rate > 1%, source: graphite}",
        "plan.yaml:28: unknown source `graphite`",
        "sql",
    ),
    ("[error_rate > 1%", "[{trigger: queue > 5}", "plan.yaml:28: unknown trigger `queue`", "needs its `source:`"),
    (
        "[error_rate > 1%",
        "[{trigger: q > 5, source: sql, query: x}",
        "plan.yaml:28: source `sql` without `database`",
        "",
    ),
    (
        "[error_rate > 1%",
        "[{trigger: q > five, source: http}",
        "plan.yaml:28: trigger is `q > five`",
        "stuck_orders > 20",
    ),
    ("[error_rate > 1%", "[{trigger: error_rate > 1%, query: x}", "plan.yaml:28: `query` does nothing", "window"),
    ("[error_rate > 1%", "[{trigger: error_rate > 1%, window: 0}", "plan.yaml:28: a window of nothing", ""),
    (
        "[error_rate > 1%",
        "[{trigger: error_rate > 1%, dry_run: maybe}",
        "plan.yaml:28: dry_run is `maybe`",
        "true, false",
    ),
    (
        "[error_rate > 1%",
        "[{trigger: error_rate > 1%, baseline: neighbour}",
        "plan.yaml:28: `error_rate > 1%` is not measured by a baseline",
        "> 2x baseline",
    ),
    (", data_inconsistency", ", {trigger: data_inconsistency, window: 5s}", "plan.yaml:28: `window` does nothing", ""),
    # what is written, what instead, what the message starts with, what it also says
    ("tables: [articles", "tabels: [articles", "plan.yaml:18: unknown key `tabels` in service stock_service", "tables"),
    ("rollback_triggers:", "rolback_triggers:", "plan.yaml:28: unknown key `rolback_triggers`", "`rollback_triggers`"),
    ("source: shop", "source: shop\nsource: other", "plan.yaml:4: `source` is written twice (first in line 3)", ""),
    ("strategy: dual_write", "strategy: dual_wirte", "plan.yaml:2: unknown strategy `dual_wirte`", "`dual_write`"),
    (
        "strategy: dual_write",
        "strategy: blue_green",
        "plan.yaml:20: unknown phase `preparation`",
        "prepare, validate, switch, watch, cleanup",
    ),
    (
        "{steps: [enable",
        "{strategy: blue-green, steps: [enable",
        "plan.yaml:22: strategy is dual_write and blue_green",
        "keep one",
    ),
    (
        "database: stock_db",
        "after: stok_service",
        "plan.yaml:16: service stock_service is after the unknown",
        "`stock_",
    ),
    ("database: stock_db", "after: [stock_service]", "plan.yaml:16: service stock_service is after itself", "drop one"),
    ("archive: parquet", "archive: csv", "plan.yaml:24: archive is `csv`", "expected parquet"),
    ("- cutover:", "- cut_over:", "plan.yaml:23: unknown phase `cut_over`", "write `cutover`"),
    ("- cleanup: {after", "- cleanup: {traffic: [100%], after", "plan.yaml:24: `traffic` in phase cleanup", "gradual_"),
    ("duration: 2 weeks", "duration: 2 wekks", "plan.yaml:20: duration is `2 wekks`", "10 min"),
    ("max_write_pause: 500 ms", "max_write_pause: 500", "plan.yaml:23: max_write_pause is `500`", "unit"),
    ("[1%, 10%, 50%, 100%]", "[10%, 1%, 100%]", "plan.yaml:21: traffic goes from 10% to 1%", "rise"),
    ("[1%, 10%, 50%, 100%]", "[1%, 10%]", "plan.yaml:21: traffic ends at 10%", "100%"),
    ("[1%, 10%, 50%, 100%]", "[0%, 100%]", "plan.yaml:21: traffic has `0%`", ""),
    ("Europe/Berlin", "Europe/Berln", "plan.yaml:23: window has the time zone `Europe/Berln`", "`Europe/Berlin`"),
    ("Sunday 02:00", "Sonday 02:00", "plan.yaml:23: window has the day `sonday`", "`sunday`"),
    ("02:00-06:00", "02:00-26:00", "plan.yaml:23: window has the time `26:00`", "Sunday 02:00-06:00"),
    ("02:00-06:00", "in the night", "plan.yaml:23: window is `Sunday in the night Europe/Berlin`", ""),
    ("archive: parquet", "archive: zip", "plan.yaml:24: archive is `zip`", "parquet"),
    ("copy_history", "copy_hystory", "plan.yaml:22: unknown step `copy_hystory`", "write `copy_history`"),
    ("{step: create_target_schemas}", "{step: make_schema}", "plan.yaml:20: unknown step `make_schema`", "one of"),
    ("{step: create_target_schemas}", "{comand: {name: x}}", "plan.yaml:20: unknown key `comand`", "write `command`"),
    ("{step: create_target_schemas}", "{step: sql_step}", "plan.yaml:20: unknown step `sql_step`", "one of"),
    ("{step: create_target_schemas}", "{sql: {name: x}, step: verify}", "plan.yaml:20: `sql` beside another", "two"),
    ("{step: create_target_schemas}", "{command: {name: x}}", "plan.yaml:20: `command` without `apply`", "`apply:`"),
    (
        "{step: create_target_schemas}",
        "{command: {name: x, apply: [run, '{nam}'], verify: w}}",
        "plan.yaml:20: apply: unknown placeholder {nam}",
        "name, url, python, root, run_id",
    ),
    (
        "{step: create_target_schemas}",
        "{command: {name: x, apply: 'run {url}', verify: w}}",
        "plan.yaml:20: {url} without `on`",
        "add `on:`",
    ),
    (
        "{step: create_target_schemas}",
        "{http: {name: x, apply: {url: 'ftp://a'}, verify: {url: 'http://a'}}}",
        "plan.yaml:20: url is `ftp://a`",
        "https://",
    ),
    (
        "{step: create_target_schemas}",
        "{http: {name: x, apply: {url: 'http://a', headers: {x-api-key: hunter22}}, verify: {url: 'http://a'}}}",
        "plan.yaml:20: header x-api-key is not a reference",
        "keep secrets out of the plan",
    ),
    (
        "{step: create_target_schemas}",
        "{sql: {name: x, database: shop, apply: [SELECT 1], verify: {query: SELECT 1}}}",
        "plan.yaml:20: query verify without `rows`",
        "add `rows:`",
    ),
    ("check: schemas", "check: schema", "plan.yaml:26: unknown check `schema`", "write `schemas`"),
    (
        "notify: [team]",
        "accept: [{finding: cascade, because: x}]",
        "plan.yaml:31: unknown finding `cascade`",
        "`cascades`",
    ),
    (
        "notify: [team]",
        "accept: [{finding: no_key, because: x}]",
        "plan.yaml:31: `no_key` cannot be taken as it is: a later step would refuse it",
        "add a primary key, or leave the table out",
    ),
    ("notify: [team]", "accept: [{finding: nul}]", "plan.yaml:31: an accepted finding without `because`", "because"),
    (", because: dropped by design", "", "plan.yaml:26: a tolerated difference without `because`", "because"),
    (
        "table: accounts, column",
        "table: acounts, column",
        "plan.yaml:26: a tolerated difference names the unknown",
        "`accounts`",
    ),
    ("error_rate > 1%", "eror_rate > 1%", "plan.yaml:28: unknown trigger `eror_rate`", "write `error_rate`"),
    ("error_rate > 1%", "error_rate > 2x baseline", "plan.yaml:28: trigger is `error_rate > 2x baseline`", "> 1%"),
    ("data_inconsistency", "error_rate > 3%", "plan.yaml:28: trigger `error_rate` is written twice", ""),
    ("tolerance: 10%", "tolerance: 10", "plan.yaml:27: tolerance is `10`", "10%"),
    (
        "stakeholders_notified",
        "stakeholder_notified",
        "plan.yaml:29: unknown checklist item",
        "`stakeholders_notified`",
    ),
    ("key: {account_id: id}", "", "plan.yaml:10: table settings has `columns` but no `key`", "key"),
    ("{account_id: id}", "{colour: id}", "plan.yaml:13: `colour` is in `key` and in `columns`", "key"),
    ("reverse: {colour: colour,", "reverse: {id: colour,", "plan.yaml:14: `reverse` writes `id`, which is the key", ""),
    ("{account_id: id}", "[id]", "plan.yaml:12: `key` is not a mapping", "key:"),
    ("database: stock_db", "database: shop", "plan.yaml:16: stock_service has the source `shop`", "another database"),
    ("apis: /api/stock/*", "apis: /api/login", "plan.yaml:16: /api/login belongs to account_service and stock", ""),
    ("apis: /api/stock/*", "apis: api/stock", "plan.yaml:17: api `api/stock`", "/api/users/*"),
    ("[articles,", "[articles, articles,", "plan.yaml:18: `articles` is written twice", ""),
    (
        "[articles,",
        "[accounts,",
        "plan.yaml:18: account_service.accounts and stock_service.accounts both write",
        "keep",
    ),
    (
        "      - accounts: {except: [colour, mails]}\n",
        "",
        "plan.yaml:9: settings gives back columns of accounts",
        "add",
    ),
    ("stock_service:", "stock service!:", "plan.yaml:15: service name `stock service!`", "letters"),
    ("[articles,", f"[{'a' * 64},", "plan.yaml:18: name `aaaaaaaaaaaaaaaaaaaa…` has more than 63 bytes", ""),
    ("migration: Shop to services", "", "plan.yaml:2: the plan has no title", "migration:"),
    ("migration: Shop to services", "migration:", "plan.yaml:1: migration is empty", "a text"),
    ("source: shop", "source: [shop]", "plan.yaml:3: source is a list", "a text"),
    ("source: shop", "source: !!python/name:os.system x", "plan.yaml:3: tag", "plain YAML"),
    ("notify: [team]", "lint: {table-cop: {policy: warn, because: x}}", "plan.yaml:31: unknown rule", "`table-copy`"),
    ("notify: [team]", "lint: {table-copy: {policy: wran, because: x}}", "plan.yaml:31: unknown policy", "`warn`"),
    ("notify: [team]", "lint: {table-copy: {policy: warn}}", "plan.yaml:31: rule table-copy without `because`", "add"),
    ("notify: [team]", "lint: {table-copy: warn}", "plan.yaml:31: table-copy is", ""),
    ("notify: [team]", "notify: [team", "plan.yaml:32: not YAML", ""),
    ("notify: [team]", "notify: team", "plan.yaml:31: notify is `team`", "a list"),
    ("notify: [team]", "on_bad_row: quarantin", "plan.yaml:31: on_bad_row is `quarantin`", "write `quarantine`"),
    ("notify: [team]", "quarantine_limit: 0", "plan.yaml:31: quarantine_limit is `0`", "at least 1"),
    ("notify: [team]", "types: {zero_dates: nul}", "plan.yaml:31: zero_dates is `nul`", "a date as 1970-01-01"),
    ("notify: [team]", "types: {zero_dates: 1970-1-1}", "plan.yaml:31: zero_dates is `1970-1-1`", "error, null"),
    ("notify: [team]", "types: {nul: stripp}", "plan.yaml:31: nul is `stripp`", "write `strip`"),
    ("notify: [team]", "notify: &a [*a]", "plan.yaml:31: a value contains itself", ""),
]


@pytest.mark.parametrize(("was", "becomes", "starts", "says"), MISTAKES, ids=[m[1][:40] or m[0] for m in MISTAKES])
def test_a_mistake_is_one_line_with_file_line_and_advice(
    tmp_path: Path, was: str, becomes: str, starts: str, says: str
) -> None:
    assert was in PLAN
    message = refusal(tmp_path, PLAN.replace(was, becomes, 1))
    assert message.startswith(starts)
    assert says in message


def test_what_becomes_of_bad_rows_and_values_is_the_plans(tmp_path: Path) -> None:
    plan = load(tmp_path, PLAN + "on_bad_row: quarantine\nquarantine_limit: 1_500\ntypes: {zero_dates: 1970-01-01}\n")
    assert (plan.on_bad_row, plan.quarantine_limit, plan.types) == ("quarantine", 1500, {"zero_dates": "1970-01-01"})
    assert (load(tmp_path, PLAN).on_bad_row, load(tmp_path, PLAN).digest) != ("quarantine", plan.digest)


def test_two_spellings_of_one_key_are_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, PLAN.replace("after: 30 days", "after: 30 days, delay: 1 day"))
    assert "`delay` and `after` mean the same" in message


def test_a_phase_twice_in_two_spellings_is_refused(tmp_path: Path) -> None:
    message = refusal(
        tmp_path,
        PLAN.replace("- gradual_extraction:", "- 1_preparation:").replace(
            "traffic: [1%, 10%, 50%, 100%], watch: 30 min", ""
        ),
    )
    assert "phase `preparation` is written twice" in message


def test_phases_out_of_order_are_refused(tmp_path: Path) -> None:
    lines = PLAN.splitlines()
    lines[22], lines[23] = lines[23], lines[22]
    assert "phase `cutover` comes after `cleanup`" in refusal(tmp_path, "\n".join(lines))


def test_a_missing_plan_names_the_nearest_file(tmp_path: Path) -> None:
    write(tmp_path, PLAN)
    with pytest.raises(PlanError, match=r"plam\.yaml: no such plan. Next: did you mean plan\.yaml\?"):
        load_plan(tmp_path / "plam.yaml")
    with pytest.raises(PlanError, match="there is no folder"):
        load_plan(tmp_path / "nowhere" / "plan.yaml")


@pytest.mark.parametrize(("content", "says"), [(b"", "is empty"), (b"\xff\xfe", "not UTF-8"), (b"- a\n", "is a list")])
def test_a_file_that_is_no_plan_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(content)
    with pytest.raises(PlanError, match=says):
        load_plan(path)


def test_a_folder_is_not_a_plan(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="is a directory"):
        load_plan(tmp_path)


@pytest.mark.parametrize("cut", [1, 3, 20])
def test_a_damaged_plan_loads_or_is_refused_in_one_line(tmp_path: Path, cut: int) -> None:
    """Cut a piece out of every place: no mistake may end in a traceback."""
    text = (PLANS / "monolith_to_microservices.yaml").read_text(encoding="utf-8")
    path = tmp_path / "plan.yaml"
    for start in range(0, len(text), 37 if EVERY else 149):
        path.write_text(text[:start] + text[start + cut :], encoding="utf-8")
        try:
            load_plan(path)
        except PlanError as error:
            assert re.match(r"\S+plan\.yaml(:\d+)?: [^\n]+$", str(error)), str(error)

"""Environments: parameter file, plan and inventory together; secrets are found by reference and never shown."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runbook_lib.config.environment import PARAMETERS, Environment, find_root, load_environment, load_environment_file
from runbook_lib.config.fleets import SERVICE_KEYS
from runbook_lib.config.inventory import Policy
from runbook_lib.errors import ConfigurationError, PlanError
from runbook_lib.services.port import COMMANDS

PROJECT = Path(__file__).parents[2]
SECRET = "s3cret-value-never-shown"

PLAN = """\
migration: Shop to services
source: shop
services:
  stock:
    database: stock_db
    tables: [articles]
phases:
  cutover: {window: "daily 02:00-04:00 UTC"}
notify: [team]
"""
INVENTORY = """\
databases:
  shop: {url: "postgresql://migrator@127.0.0.1:5999/shop", password: "env:TEST_SHOP_PASSWORD"}
  stock_db: {url: "postgresql://migrator@127.0.0.1:5999/stock", password: "file:secrets/stock"}
  scratch: {url: "sqlite:///scratch.sqlite"}
services:
  monolith: {url: "http://127.0.0.1:5998", health: /health, start: ["true"]}
router: {kind: envoy, directory: envoy, admin: "http://127.0.0.1:5997", origin: monolith}
notify:
  team: {kind: webhook, url: "env:TEST_WEBHOOK"}
policy: {approvals: auto, window: ignore}
"""
PARAMETER_FILE = """\
environment: test
plan: plans/shop.yaml
inventory: inventories/test.yaml
run_id: ""
options: {chunk_rows: 1_000}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with one environment, `test`; the secrets are there, in the right mode."""
    (tmp_path / "notebooks").mkdir()
    for name, text in (
        ("parameters/plans/shop.yaml", PLAN),
        ("parameters/inventories/test.yaml", INVENTORY),
        ("parameters/test.yaml", PARAMETER_FILE),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    secret = tmp_path / "secrets" / "stock"
    secret.parent.mkdir()
    secret.write_text(f"{SECRET}-file\n", encoding="utf-8")
    secret.chmod(0o600)
    monkeypatch.setenv("TEST_SHOP_PASSWORD", f"{SECRET}-env")
    monkeypatch.setenv("TEST_WEBHOOK", f"http://127.0.0.1:5996/{SECRET}-hook")
    for name, path in (("PGPASSFILE", "pgpass"), ("PGSERVICEFILE", "service.conf")):
        monkeypatch.setenv(name, str(tmp_path / path))
    monkeypatch.delenv("RUNBOOK_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def change(project: Path) -> Callable[[str, str, str], None]:
    """Replace a text in one of the project's files."""

    def replace(name: str, was: str, becomes: str) -> None:
        path = project / "parameters" / name
        text = path.read_text(encoding="utf-8")
        assert was in text
        path.write_text(text.replace(was, becomes, 1), encoding="utf-8")

    return replace


Change = Callable[[str, str, str], None]


def refusal(kind: type[Exception], act: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    assert SECRET not in message
    return message


def test_an_environment_is_parameter_file_plan_and_inventory(project: Path) -> None:
    found = load_environment("test")
    assert (found.name, found.root) == ("test", project)
    assert found.plan.service("stock").database == "stock_db"
    assert found.plan_path == project / "parameters" / "plans" / "shop.yaml"
    assert found.policy == Policy("auto", "ask", "ignore", "ask")
    assert found.options == {"chunk_rows": 1000}
    assert found.journal_url == f"sqlite:///{project}/.runbook/journal.sqlite"
    assert found.evidence_root == project / "evidence"
    assert found.router_settings["origin"] == "monolith"
    assert re.fullmatch(r"[0-9a-f]{64}", found.inventory_digest)


def test_every_secret_is_known_to_the_scan_and_none_is_shown(project: Path) -> None:
    found = load_environment("test")
    hook = f"http://127.0.0.1:5996/{SECRET}-hook"
    assert set(found.secrets()) == {f"{SECRET}-env", f"{SECRET}-file", hook}
    assert found.notify_targets()["team"]["url"] == hook
    assert SECRET not in repr(found) + str(found) + repr(found.inventory) + repr(found.inventory.databases)


def test_the_password_never_reaches_the_masked_url(project: Path) -> None:
    database = load_environment("test").database("stock_db")
    assert SECRET not in database.masked_url + repr(database)
    assert "127.0.0.1:5999/stock" in database.masked_url


def test_a_service_and_its_controller_come_from_the_inventory(project: Path) -> None:
    found = load_environment("test")
    assert found.service("monolith").url == "http://127.0.0.1:5998"
    assert "no service `monolit`" in refusal(ConfigurationError, lambda: found.service("monolit"))
    assert "no database `shpo`" in refusal(ConfigurationError, lambda: found.database("shpo"))


def test_the_inventory_and_the_command_adapter_know_the_same_keys() -> None:
    assert set(SERVICE_KEYS) == {"url", "health", "timeout_s", *COMMANDS}


def test_plan_and_inventory_may_be_given_without_a_parameter_file(project: Path) -> None:
    found = load_environment("other", "plans/shop.yaml", "inventories/test.yaml")
    assert found.options == {}
    assert load_environment("other", str(found.plan_path), str(found.inventory_path)).plan.digest == found.plan.digest


def test_a_parameter_file_may_lie_anywhere(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    there = tmp_path_factory.mktemp("team") / "settings"
    shutil.copytree(project / "parameters", there)
    found = load_environment_file(there / "test.yaml")
    assert (found.name, found.root, found.parameters_dir) == ("test", there.parent, there)
    assert found.parameter_file == there / "test.yaml"
    assert (found.plan_name, found.inventory_name) == ("plans/shop.yaml", "inventories/test.yaml")
    again = load_environment_file(found.parameter_file, found.plan_name, found.inventory_name)
    assert again.plan.digest == found.plan.digest
    message = refusal(PlanError, lambda: load_environment_file(there / "tset.yaml"))
    assert "tset.yaml: no such parameter file. Next: did you mean test.yaml?" in message


def test_the_folder_is_found_from_below_and_through_the_variable(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert find_root(project / "notebooks") == project
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setenv("RUNBOOK_HOME", str(project))
    assert find_root(elsewhere) == project
    monkeypatch.chdir(elsewhere)
    assert load_environment("test").root == project


def test_an_installed_copy_is_used_elsewhere_and_nothing_is_written_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNBOOK_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert (find_root() / "parameters" / "demo.yaml").is_file()
    assert load_environment("demo").root == tmp_path


ASKED = "metrics: {kind: prometheus"
MISTAKES = [
    ("test.yaml", "options:", "optoins:", "parameters/test.yaml:5: unknown key `optoins`", "write `options`"),
    ("test.yaml", "environment: test", "environment: prod", "parameters/test.yaml:1: environment is `prod`", "`test`"),
    ("test.yaml", "plans/shop", "plans/shp", "parameters/plans/shp.yaml: no such plan", "shop.yaml"),
    ("test.yaml", "inventories/test", "inventories/tst", "parameters/inventories/tst.yaml: no such inventory", "test"),
    ("test.yaml", "plan: plans/shop.yaml\n", "", "parameters/test.yaml: names no plan", "plans/NAME.yaml"),
    ("test.yaml", "{chunk_rows: 1_000}", "3", "parameters/test.yaml:5: options is not a mapping", ""),
    (
        "plans/shop.yaml",
        "stock_db",
        "stok_db",
        "plans/shop.yaml:5: parameters/inventories/test.yaml has no",
        "stock_db",
    ),
    (
        "plans/shop.yaml",
        "source: shop",
        "source: shp",
        "plans/shop.yaml:2: parameters/inventories/test.yaml has no",
        "",
    ),
    ("plans/shop.yaml", "[team]", "[taem]", "has no notification target `taem`", "write `team`"),
    ("plans/shop.yaml", "notify", "performance: {workload: plans/w.yaml}\nnotify", "no such workload plans/w.yaml", ""),
    ("inventories/test.yaml", "databases:", "database:", "test.yaml:1: unknown key `database`", "write `databases`"),
    ("inventories/test.yaml", 'password: "env', 'passwort: "env', "test.yaml:2: unknown key `passwort`", "`password`"),
    ("inventories/test.yaml", "postgresql://", "postgres://", "test.yaml:2: unknown engine `postgres`", "`postgresql`"),
    (
        "inventories/test.yaml",
        "postgresql://migrator@127.0.0.1:5999/shop",
        "nonsense",
        "test.yaml:2: the url cannot",
        "",
    ),
    (
        "inventories/test.yaml",
        "migrator@",
        f"migrator:{SECRET}@",
        "test.yaml:2: the url of database shop holds a",
        "file:",
    ),
    ("inventories/test.yaml", "/shop", f"/shop?password={SECRET}", "test.yaml:2: the url of database shop holds a", ""),
    ("inventories/test.yaml", "env:TEST_SHOP_PASSWORD", SECRET, "test.yaml:2: password is not a reference", "env:NAME"),
    ("inventories/test.yaml", "start:", "strat:", "test.yaml:6: unknown key `strat` in services monolith", "`start`"),
    ("inventories/test.yaml", "admin:", "admim:", "test.yaml:7: unknown key `admim` in router envoy", "write `admin`"),
    ("inventories/test.yaml", "policy:", f"{ASKED}}}\npolicy:", "test.yaml:10: metrics has no url", "add `url:`"),
    ("inventories/test.yaml", "policy:", f"{ASKED}, urll: a}}\npolicy:", "test.yaml:10: unknown key `urll`", "`url`"),
    (
        "inventories/test.yaml",
        "policy:",
        f"{ASKED}, url: a, queries: {{cpu: {{old: a}}}}}}\npolicy:",
        "test.yaml:10: unknown key `cpu` in queries",
        "cpu_share",
    ),
    (
        "inventories/test.yaml",
        "policy:",
        f"{ASKED}, url: a, queries: {{cpu_share: {{old: a}}}}}}\npolicy:",
        "test.yaml:10: cpu_share has a query of one side only",
        "",
    ),
    ("inventories/test.yaml", "kind: envoy", "kind: envoi", "test.yaml:7: unknown kind `envoi`", "write `envoy`"),
    ("inventories/test.yaml", ", origin: monolith", "", "test.yaml:7: router has no origin", "origin:"),
    ("inventories/test.yaml", "origin: monolith", "origin: mono", "test.yaml:7: origin `mono` is not a service", ""),
    ("inventories/test.yaml", "approvals: auto", "approvals: yes", "test.yaml:10: approvals is `yes`", "ask or auto"),
    ("inventories/test.yaml", "sqlite:///scratch.sqlite", 'sqlite:///x", password: "pgpass', "pgpass is Postgre", ""),
    (
        "inventories/test.yaml",
        'scratch.sqlite"',
        'scratch.sqlite", options: {capture: wal}',
        "test.yaml:4: sqlite has no `capture: wal`; expected capture: triggers",
        "",
    ),
]


@pytest.mark.parametrize(
    ("name", "was", "becomes", "says", "advice"), MISTAKES, ids=[m[2][:30] or m[1] for m in MISTAKES]
)
def test_a_mistake_is_one_line_with_file_line_and_advice(
    change: Change, name: str, was: str, becomes: str, says: str, advice: str
) -> None:
    change(name, was, becomes)
    kinds: type[Exception] = PlanError if "engine" not in says and "the url cannot" not in says else ConfigurationError
    message = refusal(kinds, lambda: load_environment("test"))
    assert says in message
    assert advice in message


@pytest.mark.parametrize(("name", "says"), [("tst", "did you mean test.yaml?"), ("../test", "not a name")])
def test_an_unknown_environment_is_refused(project: Path, name: str, says: str) -> None:
    assert says in refusal((PlanError, ConfigurationError), lambda: load_environment(name))  # type: ignore[arg-type]


def test_without_a_folder_the_advice_says_where_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runbook_lib.config.environment._packaged", lambda: (tmp_path, tmp_path))
    assert "RUNBOOK_HOME" in refusal(ConfigurationError, lambda: find_root(tmp_path))


# -- references ---


def password_of(name: str) -> str | None:
    found = load_environment("test")
    return found.inventory.databases[name].resolved(found.root)[1]


def test_a_variable_that_is_not_set_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_SHOP_PASSWORD")
    message = refusal(ConfigurationError, lambda: password_of("shop"))
    assert "test.yaml:2: the environment variable TEST_SHOP_PASSWORD is not set. Next: export TEST_SHOP" in message


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_read_is_refused(project: Path, mode: int) -> None:
    path = project / "secrets" / "stock"
    path.chmod(mode)
    assert f"can be read by others (mode {mode:04o}). Next: chmod 600" in refusal(
        ConfigurationError, lambda: password_of("stock_db")
    )


def test_a_missing_or_empty_file_is_refused(project: Path) -> None:
    path = project / "secrets" / "stock"
    path.write_text("\n", encoding="utf-8")
    assert "is empty" in refusal(ConfigurationError, lambda: password_of("stock_db"))
    path.unlink()
    assert "no such file" in refusal(ConfigurationError, lambda: password_of("stock_db"))
    assert "no such file" in refusal(ConfigurationError, load_environment("test").secrets)


def test_pgpass_is_left_to_libpq_and_known_to_the_scan(project: Path, change: Change) -> None:
    change("inventories/test.yaml", "env:TEST_SHOP_PASSWORD", "pgpass")
    lines = ["# comment", f"other:*:*:*:{SECRET}-no", f"127.0.0.1:5999:shop:migrator:{SECRET}\\:pg", "short:line"]
    (project / "pgpass").write_text("\n".join(lines), encoding="utf-8")
    assert password_of("shop") is None
    assert f"{SECRET}:pg" in load_environment("test").secrets()
    assert f"{SECRET}-no" not in load_environment("test").secrets()


def test_a_libpq_service_may_stand_for_the_url(project: Path, change: Change) -> None:
    change("inventories/test.yaml", "postgresql://migrator@127.0.0.1:5999/shop", "service:shop_service")
    change("inventories/test.yaml", "env:TEST_SHOP_PASSWORD", "service:shop_service")
    text = f"[shop_service]\nhost=127.0.0.1\nport=5999\nuser=migrator\npassword={SECRET}-service\n"
    (project / "service.conf").write_text(text, encoding="utf-8")
    found = load_environment("test")
    url, password = found.inventory.databases["shop"].resolved(found.root)
    assert (url.query["service"], password) == ("shop_service", None)
    assert f"{SECRET}-service" in found.secrets()


def test_a_whole_url_may_come_from_a_variable(project: Path, change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    change("inventories/test.yaml", "postgresql://migrator@127.0.0.1:5999/shop", "env:TEST_SHOP_URL")
    change("inventories/test.yaml", ', password: "env:TEST_SHOP_PASSWORD"', "")
    monkeypatch.setenv("TEST_SHOP_URL", f"postgresql://migrator:{SECRET}-url@127.0.0.1:5999/shop")
    found = load_environment("test")
    assert f"{SECRET}-url" in found.secrets()
    assert SECRET not in found.database("shop").masked_url + repr(found)


def test_a_keyring_without_its_package_says_so(project: Path, change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    change("inventories/test.yaml", "env:TEST_SHOP_PASSWORD", "keyring:runbook/migrator")
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert "the package keyring is not installed. Next: pip install 'runbook-lib[keyring]'" in refusal(
        ConfigurationError, lambda: password_of("shop")
    )


def test_a_journal_for_a_team_has_its_password_from_a_reference(project: Path, change: Change) -> None:
    entry = '{url: "postgresql://runbook@db.example/journal", password: "env:TEST_SHOP_PASSWORD"}'
    change("inventories/test.yaml", "policy:", f"journal: {entry}\npolicy:")
    found = load_environment("test")
    assert found.journal_url == f"postgresql+psycopg://runbook:{SECRET}-env@db.example/journal"
    assert SECRET not in repr(found)


# -- the project's own files ---


@pytest.mark.parametrize("name", ["demo", "staging", "production"])
def test_the_project_s_environments_load_with_the_notebooks_parameters(name: str) -> None:
    found: Environment = load_environment(name, root=PROJECT)
    text = (PROJECT / "parameters" / f"{name}.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^(\w+):", text, re.MULTILINE) == list(PARAMETERS)
    backends = {f"{s.name}@{where}" for s in found.plan.services for where in ("source", "target")}
    assert backends <= found.inventory.services.keys()
    assert found.plan.digest == load_environment("demo", root=PROJECT).plan.digest


def test_production_asks_a_person_and_keeps_the_window() -> None:
    found = load_environment("production", root=PROJECT)
    assert found.policy == Policy("ask", "ask", "enforce", "act")
    assert "watch_s" not in found.options


def test_loading_imports_no_adapter_and_nothing_heavy() -> None:
    code = (
        "import sys; from runbook_lib.config.environment import load_environment; load_environment('demo');"
        "heavy = ('psycopg', 'pymysql', 'pandas', 'papermill', 'IPython', 'runbook_lib.services.command');"
        "print([name for name in heavy if name in sys.modules])"
    )
    environ = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=environ, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_a_trigger_of_prometheus_needs_one_in_the_inventory(project: Path) -> None:
    plan, inventory = project / "parameters/plans/shop.yaml", project / "parameters/inventories/test.yaml"
    plan.write_text(PLAN + "rollback_triggers: [{trigger: q > 1, source: prometheus, query: q}]\n", encoding="utf-8")
    with pytest.raises(PlanError, match=r"shop.yaml:10: .*test.yaml has no Prometheus.* add `metrics: "):
        load_environment("test", root=project)
    inventory.write_text(INVENTORY + 'metrics: {kind: prometheus, url: "http://h"}\n', encoding="utf-8")
    assert load_environment("test", root=project).plan.triggers[0].source == "prometheus"

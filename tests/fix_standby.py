"""A streaming replica of the session's PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from fix_absent import absent
from fix_servers import SERVER_SETTINGS, PostgresServer, free_port

from runbook_lib.sandbox.clusters import Cluster, find_binaries, server_user


@pytest.fixture
def standby(postgresql_server: PostgresServer) -> Iterator[int]:
    """The port of a streaming replica of the session's server."""
    program = find_binaries() / "pg_basebackup"
    if not program.is_file():
        absent("no pg_basebackup beside the server")
    user = server_user()
    folder = postgresql_server.directory / "standby"
    folder.mkdir(mode=0o700)
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)
    settings = {**SERVER_SETTINGS, "max_connections": "200", "hot_standby": "on"}
    replica = Cluster("standby", folder, free_port(), "", binaries=postgresql_server.binaries, settings=settings)
    with (postgresql_server.cluster.data / "pg_hba.conf").open("a") as rules:
        rules.write("host replication postgres 127.0.0.1/32 scram-sha-256\n")
    postgresql_server.admin("SELECT pg_reload_conf()")
    backup = [str(program), "-D", str(replica.data), "-d", postgresql_server.superuser, "-c", "fast"]
    subprocess.run(backup, check=True, capture_output=True, user=user.pw_uid if user else None)
    # Not `-R`: it names settings that a server older than the program does not know.
    (replica.data / "standby.signal").touch()
    with (replica.data / "postgresql.auto.conf").open("a") as settings_file:
        settings_file.write(f"primary_conninfo = '{postgresql_server.superuser}'\n")
    replica.start()
    yield replica.port
    replica.stop()
    shutil.rmtree(folder)
    postgresql_server.admin("CHECKPOINT")

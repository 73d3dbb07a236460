"""Connection: facts, privileges, session settings, errors in one line, locks."""

from __future__ import annotations

import threading
import traceback

import psycopg
import pytest
from fix_servers import PostgresServer, free_port

from runbook_lib.databases.postgresql import PostgreSQL, open_database
from runbook_lib.errors import ConfigurationError, DatabaseError

SECRET = "s3cr3t/p@ss%word"


def test_facts_describe_the_server(database):
    facts = database.facts()
    assert facts.dialect == database.dialect
    assert facts.version[0] >= 14
    assert facts.encoding == "UTF8"
    assert facts.size_bytes > 1_000_000
    assert not facts.read_only


def test_the_session_prints_values_in_the_pinned_form(database):
    row = database.rows(
        "SELECT '2024-02-03 04:05:06+02'::timestamptz::text, '1 day 2 hours'::interval::text, '\\xAB'::bytea::text,"
        " 0.1::float8::text, current_setting('application_name'), current_setting('server_encoding')"
    )[0]
    assert row == ("2024-02-03 02:05:06+00", "1 day 02:00:00", "\\xab", "0.1", "runbook", "UTF8")


def test_rows_takes_colons_and_percent_signs_as_they_are(database):
    assert database.rows("SELECT ':no 100%', 5 % 3, 'a'::text") == [(":no 100%", 2, "a")]
    assert database.rows("SELECT CAST(:x AS text), 5 % 3", {"x": ":y"}) == [(":y", 2)]


@pytest.mark.parametrize("identifier", ['"', 'a"b', "Ünïcode", "select", "two words", "x;y"])
def test_any_identifier_is_quoted_and_read_back(database, identifier):
    quoted = database.quote(identifier)
    database.execute(f"CREATE TABLE {quoted} (id integer)")
    assert [table.name for table in database.catalog().values()] == [identifier]
    name = next(iter(database.catalog()))
    assert database.quote(name) == quoted


def test_names_of_two_parts_are_quoted_by_part(database):
    assert database.quote("My schema.users") == '"My schema"."users"'
    assert database.quote('"odd.schema".users') == '"odd.schema"."users"'


def _clear(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error))
    for part in (SECRET, "s3cr3t", "word"):
        assert part not in str(error).replace("password", ""), str(error)
    assert SECRET not in text
    assert "\n" not in str(error)
    return str(error)


def test_a_wrong_password_is_one_line_without_it(postgresql_server: PostgresServer):
    database = open_database("legacy", postgresql_server.url("postgres"), SECRET)
    with pytest.raises(DatabaseError) as caught:
        database.facts()
    assert "wrong password for migrator" in _clear(caught.value)


def test_an_unreachable_server_is_named_by_host_and_port():
    port = free_port()
    database = open_database(
        "legacy", f"postgresql://migrator:{SECRET.replace('/', '%2F').replace('@', '%40')}@127.0.0.1:{port}/x"
    )
    with pytest.raises(DatabaseError) as caught:
        database.rows("SELECT 1")
    assert f"unreachable at 127.0.0.1:{port}" in _clear(caught.value)


def test_a_missing_database_is_named(postgresql_server: PostgresServer):
    database = open_database("legacy", postgresql_server.url("nowhere"), postgresql_server.password)
    with pytest.raises(DatabaseError, match="no database nowhere"):
        database.facts()


def test_a_missing_role_is_told_like_a_wrong_password(postgresql_server: PostgresServer):
    database = open_database("legacy", postgresql_server.url("postgres", user="nobody_here"), SECRET)
    with pytest.raises(DatabaseError) as caught:
        database.facts()
    assert "nobody_here" in _clear(caught.value)


def test_an_unknown_host_is_unreachable():
    database = open_database("legacy", "postgresql://m@no-such-host.invalid/x", SECRET)
    with pytest.raises(DatabaseError) as caught:
        database.facts()
    assert "unreachable at no-such-host.invalid:5432" in _clear(caught.value)


def test_a_password_in_the_url_is_used_but_never_shown(postgresql_server: PostgresServer):
    url = postgresql_server.url("postgres").replace("migrator@", f"migrator:{postgresql_server.password}@")
    for form in (url, postgresql_server.url("postgres") + f"?password={postgresql_server.password}"):
        database = open_database("legacy", form)
        assert database.rows("SELECT 1") == [(1,)]
        shown = f"{database!r} {database.masked_url} {database.login!r} {database.engine!r}"
        assert postgresql_server.password not in shown
        database.close()


@pytest.mark.parametrize("url", ["", "nonsense", f"postgresql://m:{SECRET}@h:port/x"])
def test_a_malformed_url_is_refused_without_repeating_it(url):
    with pytest.raises(ConfigurationError) as caught:
        open_database("legacy", url)
    assert "legacy" in _clear(caught.value)


def test_a_failing_statement_is_one_line_without_parameters(database):
    with pytest.raises(DatabaseError) as caught:
        database.rows("SELECT CAST(:x AS integer) FROM nowhere", {"x": SECRET})
    assert 'relation "nowhere" does not exist' in _clear(caught.value)


def test_a_lock_that_is_not_granted_names_who_holds_it(new_database):
    database: PostgreSQL = new_database("source", lock_timeout_s=0.2, lock_wait_s=1.0)
    database.execute("CREATE TABLE t (id integer)")
    with database.raw() as holder:
        holder.execute("SELECT 'holding on' FROM t")
        with pytest.raises(DatabaseError) as caught:
            database.execute("ALTER TABLE t ADD COLUMN x integer")
        assert f"pid {holder.info.backend_pid}" in str(caught.value)
        assert "holding on" in str(caught.value)


def test_a_lock_that_is_released_in_time_is_waited_for(new_database):
    database: PostgreSQL = new_database("source", lock_timeout_s=0.1, lock_wait_s=20.0)
    database.execute("CREATE TABLE t (id integer)")
    with database.raw() as holder:
        holder.execute("SELECT FROM t")
        altering = threading.Thread(target=database.execute, args=("ALTER TABLE t ADD COLUMN x integer",))
        altering.start()
        while not database.rows("SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 't'::regclass"):
            pass
    altering.join(20)
    assert [column.name for column in database.catalog(["t"])["t"].columns] == ["id", "x"]


def test_execute_is_all_or_nothing(database):
    with pytest.raises(DatabaseError, match="does not exist"):
        database.execute("CREATE TABLE a (id integer)", "DROP TABLE never")
    assert database.catalog() == {}


def test_the_owner_with_its_grants_misses_nothing(database):
    database.execute("CREATE TABLE t (id integer)")
    assert database.privileges_missing("source") == []
    assert database.privileges_missing("target") == []


def test_missing_privileges_are_each_told_with_the_grant_that_helps(database, server):
    database.execute("CREATE TABLE t (id integer)")
    poor = open_database("poor", database.masked_url.replace("migrator@", "app@"), "app")
    problems = poor.privileges_missing("target")
    actions = " ".join(problem.action for problem in problems)
    poor.close()
    grants = ["GRANT SET ON PARAMETER", 'GRANT "migrator" TO "app"', "GRANT CREATE ON DATABASE", "CREATEDB"]
    if database.facts().version[0] >= 15:  # before, everybody may create there
        grants.append("ON SCHEMA public")
    for grant in grants:
        assert grant in actions, actions
    assert any("may not read t" in problem.text or "t" in problem.text for problem in problems)


def test_an_advisory_lock_is_granted_once_and_dies_with_its_connection(database):
    with database.advisory_lock("run 1") as first:
        assert first
        with database.advisory_lock("run 1") as second, database.advisory_lock("run 2") as other:
            assert not second
            assert other
    with database.advisory_lock("run 1") as again:
        assert again


def test_own_tables_are_kept_apart(database):
    database.execute(f"CREATE TABLE {database.own_table('session')} (sync integer)")
    assert database.catalog() == {}


def test_a_cut_connection_is_replaced(database, server):
    assert database.rows("SELECT 1") == [(1,)]
    with psycopg.connect(server.superuser, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'runbook'")
    assert database.rows("SELECT 1") == [(1,)]

"""Charts say their finding, show every kind of data that a run has, and give the same bytes for the same data."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from runbook_lib import charts
from runbook_lib.display import palette
from runbook_lib.evidence.checks_by_table import checks_grid
from runbook_lib.journal import Sample
from runbook_lib.schema.revisions.dry_run import Preview
from runbook_lib.schema.revisions.graph import Revision, SchemaPath

AT = 1.79e9


def samples(values: list[float], **labels: str) -> list[Sample]:
    return [Sample("s", value, AT + index, labels) for index, value in enumerate(values)]


def title(figure) -> str:
    return figure.texts[0].get_text()


def schema(current: str, wanted: str, direction: str) -> Preview:
    """A line of nine revisions, a path on it."""
    line = [
        Revision(f"r{n}", f"r{n - 1}" if n else "base", f"Step {n}", Path("r.sql"), True, True, "") for n in range(9)
    ]
    first, last = sorted(int(end[1:]) if end != "base" else -1 for end in (current, wanted))
    along = line[first + 1 : last + 1]
    path = SchemaPath(current, wanted, direction, tuple(along if direction == "up" else along[::-1]))
    return Preview("shop", path, line, (), frozenset(), (), (), None)


def compared(kinds: dict[str, int]) -> dict[str, object]:
    """A report as its `as_dict()` gives it: rows that differ among a thousand keys, and a sample of a thousand."""
    rows = [
        {"service": "s", "table": "t", "kind": kind, "key": [10 * i]} for kind, n in kinds.items() for i in range(n)
    ]
    sums = {"check": "checksums", "mismatches": rows, "figures": {"s.t": {"first_key": [1], "last_key": [1000]}}}
    sample = {"check": "data_sample", "figures": {"s.t": {"sampled": 1000}, "s.small": {"sampled": 7}}}
    return {"results": [sums, sample, {"check": "row_counts", "figures": {"s.small": {"rows": 7}}}]}


CHARTS = {
    "throughput": lambda: charts.throughput(samples([10, 2500, 10], table="users") + samples([1, 2], table="orders")),
    "lag": lambda: charts.lag(samples([9, 4, 0], channel="a")),
    "pause": lambda: charts.pause(
        [{"at": AT + 1, "name": "fence"}, {"at": AT + 1.3, "name": "switch"}], samples([5, 312, 6]), 0.5
    ),
    "latency": lambda: charts.latency([{"at": AT + i, "p50_ms": 4.0, "p99_ms": 13.0} for i in range(5)]),
    "error_rate": lambda: charts.error_rate(samples([0, 0, 0.02], backend="edge"), 0.01),
    "traffic": lambda: charts.traffic(samples([0, 50, 100], backend="b") + samples([100, 50, 0], backend="a")),
    "integrity": lambda: charts.integrity({"row_counts": {"users": "pass", "orders": "fail"}}),
    "timeline": lambda: charts.timeline(
        [{"name": "a", "started": "2026-11-22T23:59:00+00:00", "ended": AT, "outcome": "pass"}]
    ),
    "boundaries": lambda: charts.boundaries([("orders", "users", "orders.user_id")], {"u": ["users"], "o": ["orders"]}),
    "differences": lambda: charts.differences(compared({"different": 3, "missing_on_target": 2})),
    "confidence": lambda: charts.confidence(compared({})),
    "revisions": lambda: charts.revisions(schema("r3", "r7", "up")),
}
FINDINGS = {
    "differences": "5 rows of 1 table differ",
    "confidence": "Were 0.46 % of a table's rows wrong, its sample would show it",
    "throughput": "Throughput peaked at 2.5 k rows/s",
    "lag": "The lag was brought to zero",
    "pause": "The longest write around the cutover took 312 ms",
    "latency": "Response time stayed under 15 ms at p99",
    "error_rate": "The error rate reached 2.00%",
    "traffic": "Traffic ended at b 100 %",
    "integrity": "Differences found: row counts of orders",
    "boundaries": "1 of 1 foreign keys cross a service border",
    "revisions": "shop goes up from r3 to r7",
}
EMPTY = {
    "throughput": lambda: charts.throughput([]),
    "lag": lambda: charts.lag([]),
    "pause": lambda: charts.pause([], []),
    "latency": lambda: charts.latency([]),
    "error_rate": lambda: charts.error_rate([]),
    "traffic": lambda: charts.traffic([]),
    "integrity": lambda: charts.integrity({}),
    "timeline": lambda: charts.timeline([]),
    "boundaries": lambda: charts.boundaries([], {}),
}


@pytest.mark.parametrize("name", CHARTS)
def test_the_same_data_gives_the_same_picture(name: str):
    first, again = charts.svg(CHARTS[name]()), charts.svg(CHARTS[name]())
    assert first == again
    assert ET.fromstring(first).tag.endswith("svg")
    assert charts.png(CHARTS[name]()).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", FINDINGS)
def test_the_title_says_the_finding(name: str):
    assert title(CHARTS[name]()) == FINDINGS[name]


@pytest.mark.parametrize("name", EMPTY)
def test_missing_data_is_said(name: str):
    assert "no data was recorded" in [text.get_text() for text in EMPTY[name]().texts]


@pytest.mark.parametrize("name", ["throughput", "lag", "latency", "error_rate", "traffic"])
def test_one_point_is_enough(name: str):
    one = samples([1.0], backend="a", quantile="p99")
    assert charts.svg(getattr(charts, name)(one))


def test_a_chart_shows_itself_in_a_notebook_without_pyplot():
    shown = CHARTS["lag"]()._repr_mimebundle_()
    assert shown["image/svg+xml"].startswith("<svg")
    pyplot = sys.modules.get("matplotlib.pyplot")  # somebody else's test may have imported it
    assert pyplot is None or not pyplot.get_fignums()


def test_many_writes_do_not_make_megabytes():
    writes = [Sample("s", 5.0, AT + index / 4000, {}) for index in range(20_000)]
    figure = charts.pause([{"at": AT + 2, "name": "fence"}, {"at": AT + 2.1, "name": "switch"}], writes)
    assert len(charts.svg(figure)) < 500_000


def test_a_path_down_and_no_path_are_drawn_with_what_is_left_out():
    down = charts.revisions(schema("r7", "base", "down"))
    assert [text.get_text() for text in down.texts] == [
        "shop goes down from r7 to base",
        "8 revisions; filled: what the database has",
    ]
    drawn = {text.get_text() for text in charts.revisions(schema("r7", "r7", "up")).axes[0].texts}
    assert {"r5", "r8", "here"} <= drawn and "r4" not in drawn
    assert title(charts.revisions(schema("r7", "r7", "up"))) == "shop is at r7: nothing to do"


def test_many_services_and_cycles_are_drawn():
    services = {f"s{i}": [f"t{i}", f"a_table_with_a_very_long_name_{i}"] for i in range(9)}
    edges = [(f"t{i}", f"t{(i + 1) % 9}", "x") for i in range(9)] + [("t1", "t1", "parent"), ("lost", "t2", "")]
    figure = charts.boundaries(edges, services)
    assert title(figure) == "10 of 11 foreign keys cross a service border"
    assert charts.svg(figure)


@dataclass
class Result:
    check: str
    tables: list[str]
    outcomes: dict[str, str]
    tolerated: list[dict] = field(default_factory=list)

    def of(self, table: str) -> str:
        return self.outcomes[table]


def test_a_report_and_its_json_give_the_same_grid():
    @dataclass
    class Report:
        results: list[Result]

    declared = [{"service": "u", "table": "users"}]
    result = Result("schemas", ["u.users", "o.orders"], {"u.users": "pass", "o.orders": "fail"}, declared)
    as_json = {"results": [{"check": "schemas", "tables": result.outcomes, "tolerated": declared}]}
    expected = {"schemas": {"u.users": "tolerated", "o.orders": "fail"}}
    assert checks_grid(Report([result])) == checks_grid(as_json) == checks_grid(expected) == expected


def test_importing_the_library_does_not_import_matplotlib(tmp_path: Path):
    import subprocess

    code = "import sys, runbook_lib.charts; sys.exit('matplotlib' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rows_without_a_key_are_counted_beside_the_others_and_have_no_place() -> None:
    report = compared({"different": 2})
    [sums] = [each for each in report["results"] if each["check"] == "checksums"]  # type: ignore[attr-defined]
    sums["mismatches"].append(
        {"service": "s", "table": "log", "kind": "missing_on_target", "key": ["6eb5d1717d7255bc"]}
    )
    sums["figures"]["s.log"] = {"lost_rows": 4, "extra_rows": 0, "duplicated_rows": 1}
    assert title(charts.differences(report)) == "2 rows of 1 table differ, and 5 without a key"
    sums["mismatches"] = sums["mismatches"][2:]
    assert title(charts.differences(report)) == "5 rows without a key differ"


def test_that_no_row_differs_is_said_with_the_rows_that_were_compared_and_not_over_a_table_that_was_not() -> None:
    report = compared({})
    [sums] = [each for each in report["results"] if each["check"] == "checksums"]  # type: ignore[attr-defined]
    sums |= {"figures": {"s.log": {"rows": 1234}}, "errors": {}}
    found = [text.get_text() for text in charts.differences(report).texts]
    assert found == ["No row differs", "1,234 rows at the source, each compared with the target's"]
    sums["errors"] = {"s.users": "permission denied"}
    found = [text.get_text() for text in charts.differences(report).texts]
    assert found[0] == "Not every table could be compared"
    assert found[1].endswith("; not compared to the end: s.users")


def test_the_last_move_of_the_traffic_is_seen_not_only_named() -> None:
    figure = charts.traffic(samples([0, 50, 100], backend="b") + samples([100, 50, 0], backend="a"))
    top = figure.axes[0].collections[0].get_paths()[0].vertices
    assert top[top[:, 1] == 100][:, 0].max() - top[top[:, 1] == 100][:, 0].min() >= 1.0
    assert figure.axes[0].get_xlim()[1] > 2.0


def test_a_run_that_was_undone_is_told_in_one_line_and_is_no_failure() -> None:
    bars = [{"name": f"phase_{n}", "started": AT + n, "ended": AT + n + 1, "outcome": "undone"} for n in range(5)]
    figure = charts.timeline([*bars, {"name": "last_one", "started": AT + 6, "ended": AT + 7, "outcome": "fail"}])
    assert title(figure) == "The run took 7.0 s; not passed: last one; undone: 5"
    assert palette.FAIL not in charts.svg(charts.timeline(bars))

"""Charts of rows: where in the key range they differ, and how much a sample of them is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runbook_lib.charts import style
from runbook_lib.charts.style import get
from runbook_lib.display import palette
from runbook_lib.validation.report.mismatches import labelled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSED = 0.01  # the chance to miss that a sample's worth is said for
_KINDS = {
    "different": (palette.ORANGE, "different"),
    "missing_on_target": (palette.FAIL, "missing on target"),
    "missing_on_source": (palette.PURPLE, "missing on source"),
}


def differences(report: Any) -> Figure:
    """Where in each table's key range the rows lie that differ, by kind; rows without a key are only counted.

    Args:
        report: A validation report with checksums, or its `as_dict()`.
    """
    result = _result(report, "checksums")
    found, keyless = _by_table(result), _without_key(result)
    if not found:
        return _nothing(report, result, keyless) if result else style.empty("Rows that differ")
    count = sum(len(each) for each in found.values())
    height = 1.35 + 0.42 * len(found)
    title = f"{count:,} row{'s' if count > 1 else ''} of {len(found)} table{'s' if len(found) > 1 else ''} differ"
    title += f", and {keyless:,} without a key" if keyless else ""
    told = "each line is a row, at its key's place" + _unread(result)
    fig, axes = style.figure(title, told, size=(8.6, height))
    for row, (table, mismatches) in enumerate(found.items()):
        axes.barh(row, 1, height=0.62, color=palette.EMPTY, zorder=1)
        ends = _ends(result, table, mismatches)
        for kind, (colour, _) in _KINDS.items():
            places = [_place(get(m, "key"), ends) for m in mismatches if str(get(m, "kind")) == kind]
            axes.vlines(places, row - 0.31, row + 0.31, color=colour, linewidth=1.1, alpha=0.8, zorder=2)
        axes.annotate(f"{len(mismatches):,}", (1, row), (6, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set(xlim=(-0.002, 1.002), ylim=(len(found) - 0.5, -0.5))
    axes.set_yticks(range(len(found)), list(found))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["first key", "¼", "½", "¾", "last key"])
    axes.tick_params(axis="y", colors=palette.INK)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    _legend(fig, height, {str(get(m, "kind")) for each in found.values() for m in each})
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


def _nothing(report: Any, result: Any, keyless: int) -> Figure:
    """No row has a place in a key range: none differs, or not every table could be compared."""
    figures, errors = (get(result, name, {}) or {} for name in ("figures", "errors"))
    rows = sum(int(each.get("rows") or 0) for each in figures.values())
    under_way, waiting = len(get(result, "in_flight", ()) or ()), int(get(report, "waiting", 0) or 0)
    title = f"{under_way:,} rows are on their way, no other differs" if under_way else "No row differs"
    title = f"{max(waiting, under_way):,} rows wait for a sync, and none runs" if waiting else title
    title = "Not every table could be compared" if errors else title
    title = f"{keyless:,} rows without a key differ" if keyless else title
    why = f"{rows:,} row{'s' if rows != 1 else ''} at the source, each compared with the target's"
    return style.empty(title, (8.6, 1.0), why + _unread(result))


def _unread(result: Any) -> str:
    """Which tables were not read to the end: the rows that are shown need not be all there are."""
    errors = list(get(result, "errors", {}) or {})
    return f"; not compared to the end: {', '.join(errors[:3])}{' …' if errors[3:] else ''}" if errors else ""


def confidence(report: Any) -> Figure:
    """How much each table's sample is worth: the least share of wrong rows that it misses with less than 1 % chance.

    Args:
        report: A validation report with a data sample, or its `as_dict()`.
    """
    figures = get(_result(report, "data_sample"), "figures", {}) or {}
    sampled = {table: int(each["sampled"]) for table, each in figures.items() if each.get("sampled")}
    if not sampled:
        return style.empty("What the samples are worth")
    whole = {
        t: int(each.get("rows") or 0) for t, each in (get(_result(report, "row_counts"), "figures", {}) or {}).items()
    }
    shares = {t: 0.0 if whole.get(t, 0) and n >= whole[t] else 1 - MISSED ** (1 / n) for t, n in sampled.items()}
    worst = max(shares, key=lambda table: shares[table])
    title = (
        f"Were {_percent(shares[worst])} of a table's rows wrong, its sample would show it"
        if shares[worst]
        else "Every row was read"
    )
    height = 1.6 + 0.3 * len(shares)
    fig, axes = style.figure(title, "least share of wrong rows that a table's sample misses with less than 1 % chance",
                             size=(8.6, height))  # fmt: skip
    top = max(0.01, *shares.values()) * 1.35
    for row, (table, share) in enumerate(shares.items()):
        axes.hlines(row, 0, share, color=palette.RULE, linewidth=2, zorder=1)
        axes.plot(share, row, "o", color=palette.BLUE if share else palette.PASS, markersize=7, zorder=2, clip_on=False)
        text = f"{_percent(share)} · {sampled[table]:,} rows" if share else f"every row, {sampled[table]:,}"
        axes.annotate(
            text, (share, row), (9, 0), textcoords="offset points", va="center", fontsize=8.5, color=palette.MUTED
        )
    axes.set(xlim=(0, top), ylim=(len(shares) - 0.5, -0.5))
    axes.set_yticks(range(len(shares)), list(shares))
    axes.tick_params(axis="y", colors=palette.INK)
    axes.xaxis.set_major_formatter(lambda value, _: _percent(value) if value else "0")
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


def _result(report: Any, check: str) -> Any:
    return next((result for result in get(report, "results", ()) if get(result, "check") == check), {})


def _by_table(result: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    figures = get(result, "figures", {}) or {}
    for mismatch in get(result, "mismatches", ()) or ():
        table = labelled(get(mismatch, "service"), get(mismatch, "table"))
        if str(get(mismatch, "kind")) in _KINDS and get(mismatch, "key") and "lost_rows" not in figures.get(table, {}):
            found.setdefault(table, []).append(mismatch)
    return found


def _without_key(result: Any) -> int:
    """Rows that are lost, extra or duplicated in tables without a key (count): a hash has no place among others."""
    names = ("lost_rows", "extra_rows", "duplicated_rows")
    return sum(int(each.get(name, 0)) for each in (get(result, "figures", {}) or {}).values() for name in names)


def _ends(result: Any, table: str, mismatches: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """The table's first and last key as the check found them, widened by keys beyond them."""
    figures: Mapping[str, Any] = (get(result, "figures", {}) or {}).get(table, {})
    known = [list(figures[end]) for end in ("first_key", "last_key") if figures.get(end)]
    keys = [*known, *(list(get(m, "key")) for m in mismatches)]
    return min(keys, key=_sortable), max(keys, key=_sortable)


def _sortable(key: Sequence[Any]) -> tuple[Any, ...]:
    return tuple((0, part, "") if isinstance(part, int) else (1, 0, str(part)) for part in key)


def _place(key: Sequence[Any], ends: tuple[Sequence[Any], Sequence[Any]]) -> float:
    """0 at the first key, 1 at the last: by the first part of the key in which the ends differ."""
    first, last = ends
    part = next((i for i, (a, b) in enumerate(zip(first, last, strict=True)) if a != b), 0)
    low, high, here = (_number(each[part], str(first[part]), str(last[part])) for each in (first, last, key))
    return min(1.0, max(0.0, (here - low) / (high - low))) if high != low else 0.5


def _number(value: Any, first: str, last: str) -> float:
    """An integer as it is; a text by the bytes behind what all keys begin with."""
    if isinstance(value, int):
        return float(value)
    common = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    tail = str(value)[common:].encode()[:6].ljust(6, b"\0")
    return float(int.from_bytes(tail, "big"))


def _legend(fig: Any, height: float, kinds: set[str]) -> None:
    x = 0.988
    for kind in reversed([each for each in _KINDS if each in kinds]):
        colour, word = _KINDS[kind]
        fig.text(x, 1 - 0.36 / height, f"▎{word}", fontsize=9, va="top", ha="right", color=colour)
        x -= 0.02 + 0.0095 * len(word)


def _percent(share: float) -> str:
    return f"{share * 100:.2g} %" if share < 0.1 else f"{share:.0%}"

"""The foreign-key graph: which table goes to which service, and which keys cross a border."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from typing import TYPE_CHECKING, Any

from runbook_lib.charts import style
from runbook_lib.display import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Place = tuple[float, float]


def boundaries(edges: Iterable[Sequence[Any]], services: Mapping[str, Sequence[str]]) -> Figure:
    """Tables grouped by service; foreign keys as arrows, those that cross a border red and labelled.

    Args:
        edges: (table, referenced table, label) for each foreign key; the label is optional.
        services: Service name to its tables.
    """
    owner = {table: service for service, tables in services.items() for table in tables}
    keys = [(str(edge[0]), str(edge[1]), str(edge[2]) if len(edge) > 2 else "") for edge in edges]
    stray = list(dict.fromkeys(table for key in keys for table in key[:2] if table not in owner))
    groups = {
        **{service: list(tables) for service, tables in services.items()},
        **({"no service": stray} if stray else {}),
    }
    groups = {service: tables for service, tables in groups.items() if tables}
    if not groups:
        return style.empty("Service boundaries")
    owner |= dict.fromkeys(stray, "no service")
    crossing = [key for key in keys if owner[key[0]] != owner[key[1]]]
    title = f"{len(crossing)} of {len(keys)} foreign keys cross a service border" if keys else "No foreign keys"
    place, boxes, size = _layout(groups, keys)
    fig, axes = style.figure(title, "arrows point at the referenced table; red keys become calls between services",
                             size=size)  # fmt: skip
    _draw_groups(axes, boxes)
    for key in keys:
        _draw_key(axes, place, key, red=key in crossing)
    _draw_tables(axes, place)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.03)
    axes.set_axis_off()
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


_WIDTH, _HEIGHT = 1.9, 0.52  # a table's box, in the drawing's units
_COLUMN, _ROW = 4.3, 1.25
_MOST_TRIED = 7  # services: 5040 orders, 14–21 ms; one more would be eight times as many


def _layout(
    groups: Mapping[str, Sequence[str]], keys: Sequence[tuple[str, str, str]]
) -> tuple[dict[str, Place], dict[str, tuple[Place, Place]], Place]:
    """One column per service; the order of columns and rows is that of networkx's layering, so arrows stay short."""
    import networkx as nx

    graph = nx.DiGraph((a, b) for a, b, _ in keys if a != b)
    graph.add_nodes_from(table for tables in groups.values() for table in tables)
    depth = {component: index for index, component in enumerate(_ordered(graph))}
    columns = _columns(groups, keys, depth)
    per_line = len(columns) if len(columns) <= 4 else math.ceil(math.sqrt(len(columns)) + 0.5)
    place: dict[str, Place] = {}
    boxes: dict[str, tuple[Place, Place]] = {}
    top = 0.0
    for first in range(0, len(columns), per_line):
        line = columns[first : first + per_line]
        tallest = max(len(groups[service]) for service in line)
        for column, service in enumerate(line):
            tables = sorted(groups[service], key=lambda table: depth[table])
            for row, table in enumerate(tables):
                place[table] = (column * _COLUMN, top - row * _ROW)
            ys = [place[table][1] for table in tables]
            boxes[service] = ((column * _COLUMN, max(ys)), (column * _COLUMN, min(ys)))
        top -= tallest * _ROW + 1.1
    wide = min(per_line, len(columns))
    return place, boxes, (max(8.6, 2.9 * wide), max(2.6, 0.72 * -top + 0.7))


def _columns(
    groups: Mapping[str, Sequence[str]], keys: Sequence[tuple[str, str, str]], depth: Mapping[str, int]
) -> list[str]:
    """Services that share keys stand beside each other; among equals, the referenced ones come first."""
    columns = sorted(groups, key=lambda service: sum(depth[t] for t in groups[service]) / len(groups[service]))
    if len(columns) > _MOST_TRIED:
        return columns
    owner = {table: service for service, tables in groups.items() for table in tables}
    links = [(owner[a], owner[b]) for a, b, _ in keys if owner[a] != owner[b]]

    def spread(order: Iterable[str]) -> int:
        place = {service: index for index, service in enumerate(order)}
        return sum((place[a] - place[b]) ** 2 for a, b in links)

    return list(min(permutations(columns), key=spread))


def _ordered(graph: Any) -> list[str]:
    """Tables in the order in which they reference each other: referenced ones first, cycles together."""
    import networkx as nx

    whole = nx.condensation(graph)
    order = list(nx.lexicographical_topological_sort(whole, key=lambda n: min(whole.nodes[n]["members"])))
    return [table for node in reversed(order) for table in sorted(whole.nodes[node]["members"])]


def _draw_groups(axes: Axes, boxes: Mapping[str, tuple[Place, Place]]) -> None:
    from matplotlib.patches import FancyBboxPatch

    for index, (service, (high, low)) in enumerate(boxes.items()):
        colour = palette.SERIES[index % len(palette.SERIES)] if service != "no service" else palette.EDGE
        x, y = high[0] - _WIDTH / 2 - 0.3, low[1] - _HEIGHT / 2 - 0.3
        width, height = _WIDTH + 0.6, high[1] - low[1] + _HEIGHT + 0.6
        look: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.16", "linewidth": 0}
        axes.add_patch(FancyBboxPatch((x, y), width, height, facecolor=colour, alpha=0.10, zorder=0, **look))
        axes.text(x + 0.04, y + height + 0.12, service.replace("_", " "), fontsize=10, fontweight="bold", color=colour)


def _draw_tables(axes: Axes, place: Mapping[str, Place]) -> None:
    from matplotlib.patches import FancyBboxPatch

    for table, (x, y) in place.items():
        corner = (x - _WIDTH / 2, y - _HEIGHT / 2)
        box = FancyBboxPatch(corner, _WIDTH, _HEIGHT, boxstyle="round,pad=0,rounding_size=0.08",
                             facecolor="white", edgecolor=palette.EDGE, linewidth=0.9, zorder=3)  # fmt: skip
        axes.add_patch(box)
        axes.text(x, y, table, ha="center", va="center", fontsize=9 if len(table) < 16 else 7.5, zorder=4)


def _draw_key(axes: Axes, place: Mapping[str, Place], key: tuple[str, str, str], *, red: bool) -> None:
    from matplotlib.patches import FancyArrowPatch

    (x1, y1), (x2, y2) = place[key[0]], place[key[1]]
    colour, width = (palette.FAIL, 1.7) if red else (palette.MUTED, 1.1)
    look: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 11, "color": colour, "linewidth": width}
    look["zorder"] = 5 if red else 2
    if key[0] == key[1]:
        start, stop, bend = (x1 + _WIDTH / 2, y1 + 0.1), (x1 + _WIDTH / 2, y1 - 0.1), -1.6
    elif x1 == x2:  # inside a column: straight when neighbours, round the side otherwise
        near = abs(y1 - y2) <= _ROW * 1.01
        side = 0.0 if near else _WIDTH / 2
        half = math.copysign(_HEIGHT / 2, y2 - y1) if near else 0.0
        start, stop, bend = (
            (x1 + side, y1 + half),
            (x2 + side, y2 - half),
            0.0 if near else math.copysign(0.35, y1 - y2),
        )
    else:
        side = math.copysign(_WIDTH / 2, x2 - x1)
        start, stop = (x1 + side, y1), (x2 - side, y2)
        bend = 0.0 if abs(x1 - x2) <= _COLUMN * 1.01 else 0.28
    axes.add_patch(FancyArrowPatch(start, stop, connectionstyle=f"arc3,rad={bend}", shrinkA=0, shrinkB=1, **look))
    if red and key[2]:
        _label(axes, start, stop, bend, key[2])


def _label(axes: Axes, start: Place, stop: Place, bend: float, text: str) -> None:
    """On the arc's middle; the box hides the line behind the text."""
    dx, dy = stop[0] - start[0], stop[1] - start[1]
    x, y = (start[0] + stop[0]) / 2 + bend * dy / 2, (start[1] + stop[1]) / 2 - bend * dx / 2
    frame = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.text(x, y, text, fontsize=8.5, color=palette.FAIL, ha="center", va="center", zorder=6, bbox=frame)

"""A schema cut into portions that can be tried each by itself: no transaction holds more locks than a server has.

Objects that name each other belong together (tables by their foreign keys, a view and its tables), so that a portion
is refused nothing for want of another. What is named by a text only (in a function's body) is not seen here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runbook_lib.databases.sql_text import NAME, WORD, tokens, unquoted
from runbook_lib.databases.statement_names import named, pieces

PORTION = 500  # objects tried in one transaction, of 6,400 locks by default
LOCKS = 5  # of an object, at most: a table with its TOAST table
_EVERYWHERE = ("schema", "extension")  # what everything may stand in or come from


def portions(scripts: Sequence[str], most: int = PORTION) -> list[list[str]]:
    """The scripts in portions, each in the scripts' order and with their settings.

    Args:
        most: Objects of a portion (count); more only where they all hang together.
    """
    cut = [pieces(script) for script in scripts]
    found = [(place, text) for place, (_, objects) in enumerate(cut) for text in objects]
    if len(found) <= most:
        return [list(scripts)]
    together, shared = _together([text for _, text in found])
    return [
        [
            head + "".join(found[number][1] for number in chosen if found[number][0] == place)
            for place, (head, _) in enumerate(cut)
        ]
        for chosen in (sorted([*shared, *group]) for group in _filled(together, most))
    ]


def _filled(groups: Sequence[list[int]], most: int) -> Iterator[list[int]]:
    """As many groups in one as it takes."""
    filled: list[int] = []
    for group in groups:
        if filled and len(filled) + len(group) > most:
            yield filled
            filled = []
        filled = [*filled, *group]
    if filled:
        yield filled


def _together(texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
    """Numbers of the objects that hang together by their names, and of those that belong to every portion."""
    made: dict[str, int] = {}
    shared: list[int] = []
    for number, text in enumerate(texts):
        what = named(text)
        if what and what.kind in _EVERYWHERE:
            shared.append(number)
        elif what and not what.table:
            made.setdefault(what.name, number)
            made.setdefault(what.name.rpartition(".")[2], number)
    leader = list(range(len(texts)))

    def first(number: int) -> int:
        while leader[number] != number:
            leader[number] = leader[leader[number]]
            number = leader[number]
        return number

    own = sorted({*leader}.difference(shared))
    for number in own:
        for token in tokens(texts[number], "postgresql"):
            if token.kind in (WORD, NAME) and (other := made.get(unquoted(token))) is not None:
                one, two = sorted((first(number), first(other)))
                leader[two] = one
    groups: dict[int, list[int]] = {}
    for number in own:
        groups.setdefault(first(number), []).append(number)
    return list(groups.values()), shared

"""Wrap the prose of Markdown files at 120 characters: `make docs`. Tables, code and headings stay as they are.

A paragraph is only touched where one of its lines is too long; a link or a code word is never cut.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
WIDTH = 120
FENCE = re.compile(r"^\s*(```|~~~)")
APART = re.compile(r"^\s*$|^\s*\||^#{1,6} |^!\[|^<|^---")  # ends a paragraph, and is no part of one
ITEM = re.compile(r"^(\s*(?:[-*+]|\d+[.)])\s+)")
MARKS = re.compile(r"^([-+*>|=]|#{1,6}|\d+[.)])$|^[|>]")  # at a line's start they would mean something else


def pages() -> list[Path]:
    """Every Markdown file of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [path for name in sorted(listed.stdout.split()) if (path := ROOT / name).exists()]


def wrapped(text: str) -> str:
    """The text with its long paragraphs wrapped."""
    blocks = _blocks(text.split("\n"))
    return "\n".join(line for block, prose in blocks for line in (_wrapped(block) if prose else block))


def _blocks(lines: list[str]) -> Iterator[tuple[list[str], bool]]:
    """Paragraphs and list items, each whole; every other line by itself, and no prose."""
    block: list[str] = []
    fenced = False
    for line in lines:
        fence = bool(FENCE.match(line))
        if fence or fenced or APART.match(line):
            yield block, True
            yield [line], False
            block, fenced = [], fenced != fence
        elif ITEM.match(line):
            yield block, True
            block = [line]
        else:
            block.append(line)
    yield block, True


def _wrapped(block: list[str]) -> list[str]:
    if all(len(line) <= WIDTH for line in block):
        return block
    item = ITEM.match(block[0])
    first = item[1] if item else re.match(r"\s*", block[0])[0]  # type: ignore[index]  # matches always
    rest = " " * len(first)
    lines, line = [], first
    for word in _words(block, first):
        if line not in (first, rest) and len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = rest
        line += word if line in (first, rest) else f" {word}"
    return [*lines, line]


def _words(block: list[str], first: str) -> list[str]:
    """The words of a block; one that means something at a line's start stays with the word before it."""
    words: list[str] = []
    for word in " ".join([block[0][len(first) :], *block[1:]]).split():
        if words and MARKS.match(word):
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words


if __name__ == "__main__":
    for page in pages():
        before = page.read_text(encoding="utf-8")
        if (after := wrapped(before)) != before:
            page.write_text(after, encoding="utf-8")
            sys.stdout.write(f"{page.relative_to(ROOT)}: wrapped\n")

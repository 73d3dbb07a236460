"""The words of code, messages, notebooks and docs are the field's: retired ones do not come back (docs/glossary.md)."""

from __future__ import annotations

import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What was said once, and the field's term for it.
RETIRED = {
    r"held against": "compared with",
    r"told of": "notified, reported",
    r"ways? back": "rollback path, reverse replication",
    r"brought home": "replicated back",
    r"mend(?:ed|ing|s)?": "fix, repair, correct",
    r"(?:has|have|had) no like": "has no equivalent",
    r"anew": "again; recreated, rewritten",
    r"lets? (?:the )?writers in|writers? (?:are|is) let in": "resume writes",
    r"turn(?:s|ed)? (?:\w+ )?away": "reject",
    r"(?:stands?|stood) on (?:it|them)": "depends on",
    r"what (?:becomes|became|will become) of": "how it is handled",
    r"borne": "tolerated",
    r"(?:is|are|was|were|be|been) set aside": "quarantined",
    r"looked at": "checked, read",
    r"goes on|went on": "resumes, continues",
    r"in earnest": "in production",
    r"misfits?(?!\")": "incompatible rows",
    r"loose sequences?": "standalone sequence",
    r"trap \d+|traps\.md|recipes(?:\.md)?": "docs/correctness.md",
}
WORDS = re.compile(r"(?i)(?<![\w.{`-])(?:" + "|".join(RETIRED) + r")(?![\w(}=`-]|: )")
KEPT = "The way back is written down and was rehearsed"  # of the digest of every plan that has the whole checklist
PROSE = (tokenize.COMMENT, tokenize.STRING)
PLACES = ("runbook_lib/*.py", "notebooks/*.ipynb", "docs/*.md", "parameters/*", "README.md", "CONTRIBUTING.md")


def prose(name: str, text: str) -> str:
    """What a person reads of a file: all of a page; of code its comments and texts."""
    if not name.endswith(".py"):
        return re.sub(r'\\n",?\s*"', " ", text)
    found = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type in PROSE]
    return "\n".join(token.string for token in found if not re.fullmatch(r"""["'][\w-]*["']""", token.string))


def retired(text: str) -> list[str]:
    line = re.sub(r"\s*\n[\s#]*|\s+", " ", text).replace(KEPT, "")
    return WORDS.findall(line)


def test_retired_words_do_not_come_back() -> None:
    listed = subprocess.run(["git", "ls-files", *PLACES], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.split() if (ROOT / name).suffix != ".svg" and "/images/" not in name]
    assert len(names) > 500
    hits = {name: retired(prose(name, (ROOT / name).read_text("utf-8"))) for name in names}
    assert {name: each for name, each in hits.items() if each} == {}


@pytest.mark.parametrize(
    "text", ["It is held\n# against that.", "The way\nback is open.", 'brought\\n",\n    "home', "made anew, or"]
)
def test_a_retired_word_is_found_wherever_its_line_is_broken(text: str) -> None:
    assert len(retired(prose("page.md", text))) == 1

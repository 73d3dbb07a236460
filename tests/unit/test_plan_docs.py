"""docs/writing-a-plan.md: every example loads, and every key is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from make_plan_docs import marked

from runbook_lib.plan import keys, vocabulary
from runbook_lib.plan.hazard_policy import RULES
from runbook_lib.plan.key import Section
from runbook_lib.plan.lint import PITFALLS
from runbook_lib.plan.load import load_plan
from runbook_lib.plan.load_sections import CHECKLIST

TEXT = (Path(__file__).parents[2] / "docs" / "writing-a-plan.md").read_text(encoding="utf-8")
SECTIONS = {name: section for name, section in vars(keys).items() if isinstance(section, Section)}
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_an_example_loads(tmp_path: Path, number: int) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(BLOCKS[number], encoding="utf-8")
    assert load_plan(path).digest


def test_every_key_and_word_of_the_grammar_is_explained() -> None:
    words = {key.name for section in SECTIONS.values() for key in section.keys} | {item.name for item in CHECKLIST}
    words |= {name for names in vocabulary.PHASES.values() for name in names}
    words |= {*vocabulary.TRIGGERS, *vocabulary.CHECKS, *vocabulary.STRATEGIES}
    assert sorted(word for word in words if not re.search(rf"\b{word}\b", TEXT)) == []


def test_every_section_has_its_table() -> None:
    assert {id(one) for one in marked(TEXT, keys)} == {id(one) for one in SECTIONS.values()}


def test_every_hazard_is_explained_with_its_default_and_why() -> None:
    changes = (Path(__file__).parents[2] / "docs" / "schema-changes.md").read_text(encoding="utf-8")
    rows = [f"| `{rule}` | {answer} | {because} |" for rule, (answer, because) in RULES.items()]
    assert [row for row in rows if row not in changes] == []


def test_every_pitfall_is_explained() -> None:
    assert [name for name in PITFALLS if f"| {name.replace('_', ' ')} |" not in TEXT] == []

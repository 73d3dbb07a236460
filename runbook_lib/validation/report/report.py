"""The report of a validation: six results, the tolerances with their counts, the fingerprints of both sides."""

from __future__ import annotations

from dataclasses import dataclass

from runbook_lib.validation.report.as_html import render
from runbook_lib.validation.report.contents import Contents


@dataclass(frozen=True)
class Report(Contents):
    """The contents, shown as a page where a notebook shows them."""

    def _repr_html_(self) -> str:
        return render(self)

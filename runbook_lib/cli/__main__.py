"""`python -m runbook_lib.cli`: the command line with this very Python."""

from __future__ import annotations

from runbook_lib.cli import main

main()

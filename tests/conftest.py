"""Fixtures that every test may use come from plugins beside this file."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["fix_evidence", "fix_servers"]

"""First on the PYTHONPATH of a process that a test has killed: it ends at the point that TEST_CRASH_AT names."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from estate_killed import die_where_told

die_where_told()

"""Fixtures that every test may use come from plugins beside this file."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# A shell that starts us in the background lets us ignore it, and so all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["fix_evidence", "fix_servers", "fix_standby"]

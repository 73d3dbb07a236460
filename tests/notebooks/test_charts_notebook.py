"""The gallery of charts, cell by cell, as nbval runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_every_chart_of_the_gallery_is_drawn_by_nbval(tmp_path: Path) -> None:
    gallery = Path(__file__).with_name("charts.ipynb")
    quiet = ["-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=", "-o", "filterwarnings="]
    command = [sys.executable, "-m", "pytest", "--nbval-lax", f"--rootdir={tmp_path}", *quiet, str(gallery)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=180, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "9 passed" in done.stdout

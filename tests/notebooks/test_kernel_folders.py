"""What kernels leave in /tmp: nothing, also after a kill -9 of whoever started them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from fix_sandbox import wait_for

from runbook_lib.runner.kernel_sockets import PLACE, PREFIX, SocketFolder

STARTER = """
from pathlib import Path
from runbook_lib.runner.kernel import start_kernel
kernel = start_kernel(Path())
print(kernel.manager.provisioner.pid, kernel.folder.path, flush=True)
try:
    input()
finally:
    kernel.end()
"""


@contextmanager
def starter() -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    """A process that has started a kernel, the kernel's process number, and its folder; it ends both at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        pid, folder = process.stdout.readline().split()
        yield process, int(pid), Path(folder)
        process.stdin.close()


def test_the_next_start_removes_the_folder_of_a_starter_that_was_killed_and_of_nobody_else() -> None:
    with ExitStack() as started:
        alive = started.enter_context(starter())[2]
        killed, kernel, left = started.enter_context(starter())
        wait_for(lambda: (left / "connection.json").exists(), "the kernel has its connection file there, with its key")
        killed.kill()
        killed.wait()
        wait_for(lambda: not Path(f"/proc/{kernel}").exists(), "the kernel was ended with its starter")
        next_one = started.enter_context(starter())[2]
        assert [folder.exists() for folder in (left, alive, next_one)] == [False, True, True]
    assert [folder.exists() for folder in (alive, next_one)] == [False, False]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to another user")
def test_another_user_s_folder_is_left_alone_by_root_too() -> None:
    other = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PLACE))
    try:
        os.chown(other, 65534, 65534)
        SocketFolder().remove()
        assert other.exists()
    finally:
        other.rmdir()

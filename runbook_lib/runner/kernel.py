"""Kernels for unattended notebooks: tied to us, on private sockets, and started before the notebook needs them."""

from __future__ import annotations

import os
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from runbook_lib.config.parameter_file import TOLD
from runbook_lib.runner.kernel_sockets import SocketFolder
from runbook_lib.util.child_process import tied

NAME = "python3"  # of every committed notebook; a test holds it


@dataclass(frozen=True)
class Kernel:
    """A kernel's process, which may still be starting. Whoever has it ends it with `end`.

    Attributes:
        manager: jupyter_client's, for a notebook client.
        folder: The sockets, and how to reach them.
        stderr: What the kernel writes there.
    """

    manager: Any
    folder: SocketFolder
    stderr: IO[bytes]

    def last_words(self) -> str:
        """The last line that the kernel wrote to its standard error."""
        self.stderr.seek(0)
        lines = self.stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def end(self) -> None:
        """End the process if it runs, and remove what it left. Harmless when called again."""
        from jupyter_core.utils import run_sync

        manager = self.manager
        if manager.has_kernel:
            run_sync(manager.shutdown_kernel)(now=True)
        run_sync(manager.cleanup_resources)()
        self.stderr.close()
        self.folder.remove()


def start_kernel(root: Path, parameter_file: Path | None = None) -> Kernel:
    """Start a kernel and do not wait for it: it takes about a second, in which its caller may do something else.

    Args:
        root: Its working directory.
        parameter_file: The notebook's, by which it finds its plan and inventory.
    """
    from jupyter_core.utils import run_sync

    folder = SocketFolder()
    manager, stderr = _manager_class()(kernel_name=NAME), tempfile.TemporaryFile()  # noqa: SIM115  # closed by `end`
    manager.ip, manager.connection_file = str(folder.path / "socket"), str(folder.path / "connection.json")
    kernel = Kernel(manager, folder, stderr)
    try:
        arguments = ["--HistoryManager.enabled=False"]
        told = {TOLD: str(parameter_file)} if parameter_file else {}
        environment = {**{name: value for name, value in os.environ.items() if name != TOLD}, **told}
        run_sync(manager.start_kernel)(extra_arguments=arguments, cwd=str(root), stderr=stderr, env=environment)
    except BaseException:
        kernel.end()
        raise
    return kernel


def _manager_class() -> Any:
    from jupyter_client.manager import AsyncKernelManager

    class Manager(AsyncKernelManager):
        # Sockets in a private folder: no ports that collide when notebooks run beside each other, none on the network.
        transport = "ipc"
        # ipykernel 7.4 sometimes hangs at its exit (1 of 12 bare starts, 4 of 8 notebooks; over TCP too, cause not
        # found) until half of this is over: 2.5 s by default. State is in the journal; ending it early loses nothing.
        shutdown_wait_time = 0.4

        # ipykernel looks for its parent's end once a second, by a process number that it compares only after its start.
        def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
            return tied(super().format_kernel_cmd(extra_arguments), signal.SIGKILL)

    return Manager

"""`python -m runbook_lib.cli`: the command line with this very Python."""

from __future__ import annotations

from runbook_lib.cli import main

try:
    main()
finally:
    # Python notes a Ctrl-C within exec() of a text, as dataclasses do it, and under -m it ends by SIGINT for that, even
    # where it was answered; the next such exec() takes the note back.
    exec("")  # noqa: S102

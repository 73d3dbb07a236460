"""Imports that would be slow for no reason of ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_iri_grammar() -> Iterator[None]:
    """Import notebook tools without the grammar of IRIs, which costs more than all of the rest.

    jsonschema, which nbformat uses, imports rfc3987_syntax, which builds a grammar only to check IRIs; no notebook
    holds one. Measured: papermill's command starts in 1.1 s instead of 2.1–2.5 s.
    Marked absent while we import; the mark is taken away again for everybody else.
    """
    name = "rfc3987_syntax"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # documented: None makes the import fail
    try:
        yield
    finally:
        del sys.modules[name]

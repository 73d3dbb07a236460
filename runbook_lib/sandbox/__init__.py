"""The demo estate: a live monolith, three services, Envoy in front and a client that never stops writing.

Everything comes from pip, listens on 127.0.0.1 only, and ends with the process that started it.
"""

from __future__ import annotations

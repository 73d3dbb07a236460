"""Capture by PostgreSQL's write-ahead log: slot, reader, changed keys."""

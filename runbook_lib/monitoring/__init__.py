"""Watching a migration: probes, watches, rollback triggers, notifications."""

"""Schemas: the targets' tables out of the source's catalog and the plan's mappings."""

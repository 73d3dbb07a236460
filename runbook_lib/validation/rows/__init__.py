"""How rows are compared: checksums of ranges, drill-down, recheck, tables without a key."""

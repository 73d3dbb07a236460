"""Copy, capture, sync, cutover: rows from one database to another, and back, without losing one."""

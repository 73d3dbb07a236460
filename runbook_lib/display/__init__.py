"""What people see: tables, progress, error boxes, widgets."""

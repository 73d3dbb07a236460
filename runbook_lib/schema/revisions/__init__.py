"""Versioned schema changes: read, checked, shown, applied, taken back."""

"""One engine's tables in another's words: types, expressions, limits, and whether both mean the same."""

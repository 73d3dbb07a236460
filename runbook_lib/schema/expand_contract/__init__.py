"""Changes of shape in two revisions, both shapes in use between them: expand, then contract."""

"""The port in its parts, one Protocol for each thing that the library does with a database."""

"""Files as sources and targets: archives that can be read back and proven equal."""

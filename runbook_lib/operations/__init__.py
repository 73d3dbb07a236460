"""What composes transfer and validation: copy a database, replicate it, switch over."""

"""What a comparison found: as data, as text, as a page, as a repair script."""

"""What a report of a comparison says, section by section."""

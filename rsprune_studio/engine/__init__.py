"""State of the studio, without any widget."""

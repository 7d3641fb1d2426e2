"""Charts as SVG and HTML text, without any widget."""

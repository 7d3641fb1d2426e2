"""The widgets; they only wire the engine to the drawings."""

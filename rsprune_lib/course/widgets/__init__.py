"""Small live widgets of single notebooks."""

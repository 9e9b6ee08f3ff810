"""Pictures: read, brought to a size by a stated rule, kept as bytes."""

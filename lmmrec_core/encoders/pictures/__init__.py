"""Pictures: read, resized by a stated rule, kept as bytes."""

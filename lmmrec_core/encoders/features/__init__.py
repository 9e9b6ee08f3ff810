"""Features: made from vectors or brought along, transformed, and kept on disk."""

"""Features: made of vectors or brought by the catalogue, transformed, and kept on disk."""

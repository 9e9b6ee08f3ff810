"""Paradigm ETE of a case: an encoder joined to the training of a recommender, and what is kept of it."""

"""CLIP: two towers and one space. Official models, the small one from package weights, tiny ones for tests."""

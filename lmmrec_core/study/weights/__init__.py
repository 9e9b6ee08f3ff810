"""Weights of the encoders of a track: the pictures they read, their recipe, how they are made, and the record."""

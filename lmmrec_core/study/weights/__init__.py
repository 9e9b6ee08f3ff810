"""Weights of the encoders of a track: their recipe, how they are made from it, and the record of that."""

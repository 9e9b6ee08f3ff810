"""Searches the settings of a recommender on the validation part."""

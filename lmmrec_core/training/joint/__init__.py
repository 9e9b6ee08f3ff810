"""Training an encoder together with a recommender, end to end."""

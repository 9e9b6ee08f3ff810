"""Takes a recommender, its training data and a split; gives the trained recommender, its history and top-k lists."""

"""Takes a printed table of recommender results, gives what cannot be in it, and verdicts on its claims."""

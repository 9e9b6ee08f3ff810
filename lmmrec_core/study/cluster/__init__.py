"""Cases as jobs of a cluster."""

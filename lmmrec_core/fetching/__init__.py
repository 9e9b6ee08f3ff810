"""Takes sources (addresses and what is published of each file), gives a data folder with whole, checked files."""

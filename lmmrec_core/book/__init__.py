"""The book: which pages there are, how a notebook is run, how the whole is rendered."""

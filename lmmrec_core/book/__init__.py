"""The book: its pages, the runner that executes their notebooks, and the rendering of the whole."""

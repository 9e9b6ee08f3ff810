"""Side questions: tracks that start from one of the book's and add cells, and what pages show of them."""

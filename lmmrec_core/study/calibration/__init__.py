"""Measures how often the study's tests are right, where the truth is known or a system is held against itself."""

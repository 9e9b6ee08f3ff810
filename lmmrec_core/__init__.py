"""Multi-modal encoders for recommendation: catalogue → features → recommender → run → result → table."""

__version__ = "0.1.0"

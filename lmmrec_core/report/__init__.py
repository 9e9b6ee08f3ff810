"""Takes Results and the paper's printed figures, gives Tables, figures and verdicts."""

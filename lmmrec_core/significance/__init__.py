"""Takes per-user metrics of two systems, gives their comparison: difference, interval, p-value, equivalence."""

"""How much memory work takes, and whether it is there: estimated, told and, where it cannot fit, refused."""

"""Takes the record and per-user metrics of a run, keeps them, and gives them back as Results."""

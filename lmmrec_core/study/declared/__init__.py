"""What is declared for a case: its track read from YAML, what searches found, the settings that come out."""

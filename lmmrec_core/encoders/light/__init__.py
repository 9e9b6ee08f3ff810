"""Light encoders: the modality-specific baseline of the controls, trained from nothing in seconds."""

"""What a reader does with a catalogue of their own: runs beside a run, kept models, lists, two results compared."""

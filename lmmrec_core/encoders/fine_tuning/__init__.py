"""Takes an encoder and the picture-text pairs of a catalogue, returns the encoder fine-tuned on them.

``pairs.collect_pairs`` reads the content once and ``loop.fine_tune`` trains; the rest is what they are made of. The
same loop serves the paper's two-stage paradigm (FT) and the pre-training of the small encoders (PT).
"""

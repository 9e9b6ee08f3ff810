"""Takes an encoder and the picture-text pairs of a catalogue, gives the encoder tuned on them (encoders spec 5.1).

``pairs.collect_pairs`` reads the content once, ``loop.tune`` trains; the rest is what they are made of. The same
loop serves fine-tuning (FT) and the pre-training of the small encoders (encoders spec 4.6).
"""

"""VLMo (Bao et al., 2022): one transformer for pictures, texts and pairs, with experts per modality.

Read ``settings`` (sizes), ``blocks`` and ``model`` (the equations of encoders spec 1.2), ``loading`` (published
weights), ``minilm`` and ``stem`` (the small one), ``tokens``, ``encoder`` (the role), ``presets`` (the three names).
"""

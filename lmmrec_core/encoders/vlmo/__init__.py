"""VLMo (Bao et al., 2022): one transformer for pictures, texts and pairs, with experts per modality.

Read ``settings`` (sizes), ``blocks`` and ``model`` (the network), ``loading`` (published weights), ``from_minilm`` and
``stem`` (the small one), ``tokens``, ``encoder`` (the role), ``presets`` (the three encoders by name).
"""

"""The feature card: tells a person where a feature file came from."""

import json
from collections.abc import Mapping
from typing import Any


def feature_card(key: str, digest: str, card: Mapping[str, Any]) -> str:
    """The Markdown that goes beside a feature file: its origin, its counts, then every setting."""
    lines = [f"# Features {key}", "", f"- content digest: `{digest}`"]
    for name in ("catalogue", "created", "device", "precision", "batch_size", "threads"):
        if name in card:
            lines.append(f"- {name.replace('_', ' ')}: {card[name]}")
    modalities = card.get("modalities")
    if isinstance(modalities, Mapping) and modalities:
        lines += ["", "| modality | encoder | items | dim | missing | seconds |", "|---" * 6 + "|"]
        for modality, note in modalities.items():
            cells = [note.get("encoder", ""), note.get("items", ""), note.get("dim", ""), note.get("missing", "")]
            cells += [note.get("seconds", "")]
            lines.append(f"| {modality} | " + " | ".join(str(cell) for cell in cells) + " |")
        told = modalities.get("textual", {})
        if told.get("tokens"):
            lines += [
                "",
                f"- unknown tokens: {told['unknown_tokens']} of {told['tokens']}; texts without a known one: "
                f"{told['unknown_texts']} of {told['texts']}",
                f"- texts cut because they are too long: {told['cut_texts']} of {told['texts']}",
            ]
    lines += ["", "## Everything recorded", "", "```json", json.dumps(card, indent=2, ensure_ascii=False), "```", ""]
    return "\n".join(lines)

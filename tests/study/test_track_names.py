"""Names in a track file: those that become folders stay below their parent, and rules name what there is."""

import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.study.declared.track_file import read_track


def refused(tmp_path, text: str) -> str:
    file = tmp_path / "own.yaml"
    file.write_text(f"extends: controls\n{text}\n")
    with pytest.raises(ConfigError) as told:
        read_track(str(file))
    return str(told.value)


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "..", "", ".hidden", "a/b", "a\\b", "a\\nb", "x" * 201])
@pytest.mark.parametrize(
    "text", ['name: "{}"', 'datasets: {{"{}": {{title: x, source: controls}}}}', 'encoders: {{"{}": {{encoder: x}}}}',
             'models: {{"{}": {{}}}}', 'arms: {{"{}": {{settings: {{epochs: 1}}, why: x}}}}'],
)  # fmt: skip
def test_a_name_that_would_leave_its_folder_is_refused(tmp_path, name, text):
    assert "part of a folder's name" in refused(tmp_path, text.format(name.replace("\\b", "\\\\b")))


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("left_out: [{datasets: [redundnt], why: x}]", "left_out[0].datasets", "'redundant'"),
        ("left_out: [{why: x}, {models: [vbrp], why: x}]", "left_out[1].models", "'vbpr'"),
        ("left_out: [{encoders: [clp], why: x}]", "left_out[0].encoders", "'clip'"),
        ("left_out: [{paradigms: [pt], why: x}]", "left_out[0].paradigms", "'PT'"),
        ("left_out: [{modalities: [VT], why: x}]", "left_out[0].modalities", "'V&T'"),
        ("left_out: [{controls: [shufled], why: x}]", "left_out[0].controls", "'shuffled'"),
        ("further_splits: [{splits: [7], arms: [wrm]}]", "further_splits[0].arms", "known: "),
        ("not_searched: [{models: [latice], why: x}]", "not_searched[0].models", "'lattice'"),
        ("arms: {slow: {settings: {epochs: 1}, encoders: [clop], why: x}}", "arms.slow.encoders", "'clip'"),
        ("ablate: {clp: [PT]}", "ablate", "'clip'"),
        ("ablate: {clip: [ET]}", "ablate.clip", "'ETE'"),
        ("searched: [{dataset: nul, model: bpr, settings: {reg_weight: 1}}]", "searched[0]", "'null'"),
        (
            "searched: [{dataset: 'null', model: vbpr, encoder: clop, paradigm: PT, settings: {}}]",
            "searched[0]",
            "'clip'",
        ),
    ],
)
def test_a_rule_about_nothing_is_refused_with_the_nearest_name(tmp_path, text, place, hint):
    error = refused(tmp_path, text)
    assert f"own.yaml: {place}: unknown " in error and hint in error


def test_two_entries_of_one_searched_cell_are_refused(tmp_path):
    cell = "{dataset: 'null', model: bpr, settings: {reg_weight: %s}}"
    assert "null bpr none none is there already" in refused(tmp_path, f"searched: [{cell % 1}, {cell % 2}]")


def test_a_track_that_extends_itself_says_so(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(f"extends: {second}\n")
    second.write_text(f"extends: {first}\n")
    with pytest.raises(ConfigError, match=r"first\.yaml: extends itself"):
        read_track(str(first))

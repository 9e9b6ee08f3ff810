import time

import pytest
from pydantic import Field

from lmmrec_core.config import Settings, parse_assignments, read_yaml
from lmmrec_core.digests import canonical_json, digest
from lmmrec_core.errors import ConfigError, nearest, unknown


class Example(Settings):
    reg_weight: float = Field(0.1, ge=0)
    n_layers: int = 2


def test_unknown_key_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"tracks/x\.yaml: unknown setting 'reg_wieght'; did you mean 'reg_weight'"):
        Example.build({"reg_wieght": 1.0}, "tracks/x.yaml")


def test_bad_value_names_place_key_and_value():
    with pytest.raises(ConfigError, match=r"vbpr: reg_weight = -1 is not valid"):
        Example.build({"reg_weight": -1}, "vbpr")


def test_settings_are_frozen():
    with pytest.raises(Exception, match="frozen"):
        Example().n_layers = 3


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("0.5", 0.5), ("3", 3), ("true", True), ("reference", "reference"), ("[1, 2]", [1, 2])],
)
def test_assignments_read_values_as_people_mean_them(text, value):
    assert parse_assignments([f"x={text}"]) == {"x": value}


@pytest.mark.parametrize("entry", ["lr", "=3", "x=[1"])
def test_malformed_assignment_is_refused(entry):
    with pytest.raises(ConfigError, match="--set"):
        parse_assignments([entry])


def test_digest_ignores_key_order_and_sees_values():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert canonical_json({"b": 1, "a": [1, 2]}) == '{"a":[1,2],"b":1}'


def test_yaml_that_is_no_mapping_is_refused(tmp_path):
    (tmp_path / "x.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"x\.yaml: expected a mapping"):
        read_yaml(tmp_path / "x.yaml")
    with pytest.raises(ConfigError, match="no such settings file"):
        read_yaml(tmp_path / "none.yaml")


def test_nearest_finds_typing_slips_and_not_strangers():
    assert nearest("VBRP", ["vbpr", "bpr", "lattice"]) == "vbpr"
    assert nearest("qqqq", ["vbpr", "lattice"]) is None
    assert "known: bpr, vbpr" in str(unknown("model", "qqqq", ["vbpr", "bpr"]))


def test_aliases_that_stand_for_billions_of_values_are_refused_before_they_are_made(tmp_path):
    bombs = {
        "lists": "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10) if n else 'lol'}]\n" for n in range(12)),
        "merges": "".join(
            f"x{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 10)}]}}\n" if n else "x0: &x0 {lol: 1}\n"
            for n in range(12)
        ),
    }
    for name, text in bombs.items():
        (tmp_path / "bomb.yaml").write_text(text, encoding="utf-8")
        start = time.process_time()
        with pytest.raises(ConfigError, match=r"bomb\.yaml: .*stand for more than 100,000 values"):
            read_yaml(tmp_path / "bomb.yaml")
        assert time.process_time() - start < 1, name
    with pytest.raises(ConfigError, match=r"--set .*stand for more than"):
        parse_assignments(["x=[&a [1,1,1,1,1,1,1,1,1,1]" + "".join(
            f", &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcde", "bcdef", strict=True)
        ) + "]"])  # fmt: skip


def test_an_alias_that_contains_itself_is_refused(tmp_path):
    (tmp_path / "loop.yaml").write_text("a: &a [1, *a]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"loop\.yaml: .*contains itself"):
        read_yaml(tmp_path / "loop.yaml")


def test_aliases_are_read_as_yaml_reads_them(tmp_path):
    (tmp_path / "plain.yaml").write_text("a: &a {x: 1, y: [2, 3]}\nb: *a\nc: {<<: *a, x: 4}\n", encoding="utf-8")
    expected = {"a": {"x": 1, "y": [2, 3]}, "b": {"x": 1, "y": [2, 3]}, "c": {"x": 4, "y": [2, 3]}}
    assert read_yaml(tmp_path / "plain.yaml") == expected

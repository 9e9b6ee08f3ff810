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

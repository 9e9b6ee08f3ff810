import time
from pathlib import Path
from typing import Any, Literal

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
    [
        ("1e-3", 1e-3), ("0.5", 0.5), ("3", 3), ("true", True), ("reference", "reference"), ("[1, 2]", [1, 2]),
        ("-.5E+2", -50.0), ("1.", 1.0), ("010", 10), ("1_000", 1000), ("0x1f", 31), ("0o17", 15), ("-7", -7),
        ("2024-01-31", "2024-01-31"), ("2024-13-45", "2024-13-45"), ("1:30", "1:30"), ("3.1.2", "3.1.2"), ("", None),
        ("nan", "nan"), ("1e", "1e"), ("V&T", "V&T"),
    ],
)  # fmt: skip
def test_assignments_read_values_as_people_mean_them(text, value):
    assert parse_assignments([f"x={text}"]) == {"x": value}


@pytest.mark.parametrize("entry", ["lr", "=3", "x=[1"])
def test_malformed_assignment_is_refused(entry):
    with pytest.raises(ConfigError, match="--set"):
        parse_assignments([entry])


def test_a_setting_given_twice_is_refused():
    with pytest.raises(ConfigError, match="--set x is given twice"):
        parse_assignments(["x=1", "y=1", "x =2"])


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 10)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
ODD = {
    "a tag that does not fit": ("x: !!bool maybe", "not valid YAML"),
    "a timestamp by force": ("x: !!timestamp never", "not valid YAML"),
    "a number by force": ("x: !!int many", "not valid YAML"),
    "code": ("x: !!python/object/apply:os.system [ls]", "not valid YAML"),
    "brackets": ("x: " + "[" * 5000, "brackets too deep"),
    "levels": ("x: " + "[" * 60 + "]" * 60, "40 levels"),
    "a list in itself": ("x: &a [1, *a]", "line 1: an alias contains itself"),
    "a mapping in itself": ("&a {x: {y: *a}}", "line 1: an alias contains itself"),
    "an alias bomb": (BOMB, "stand for more than 100,000 values"),
    "a bomb of merges": (MERGES, "stand for more than 100,000 values"),
    "5,000 digits": ("x: " + "7" * 5000, "not valid YAML: .*4300 digits"),
    "5,000 hexadecimal digits": ("x: 0x" + "f" * 5000, "x: a number of 20000 bits"),
    "20 digits": ("x: 99999999999999999999", "x: a number of 67 bits; whole numbers have 63"),
    "not a number": ("x: {y: .nan}", "x.y: nan is not a finite number"),
    "infinity": ("x: -.inf", "x: -inf is not a finite number"),
    "half a letter": (r'x: "\ud800"', "no text that UTF-8 can hold"),
    "half a letter as a key": (r'{"\ud800": 1}', "no text that UTF-8 can hold"),
    "a set": ("x: !!set {a, b}", "x: a set is no setting"),
    "bytes": ("x: !!binary aGFsbG8=", "x: a bytes is no setting"),
    "a key twice": ("x: 1\ny: {z: 1, z: 2}", r"key 'z' is given twice(.|\n)*line 2"),
    "a null character": ("x: \0", "not valid YAML"),
    "two documents": ("x: 1\n---\nx: 2", "not valid YAML"),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_yaml_is_refused_with_its_place(odd, tmp_path):
    text, message = ODD[odd]
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"x\.yaml: .*{message}"):
        read_yaml(tmp_path / "x.yaml")


def test_merges_and_aliases_are_read(tmp_path):
    (tmp_path / "x.yaml").write_text("a: &a {k: 1, l: 2}\nb: {<<: *a, k: 3}\nc: {<<: *a}\n")
    assert read_yaml(tmp_path / "x.yaml") == {"a": {"k": 1, "l": 2}, "b": {"k": 3, "l": 2}, "c": {"k": 1, "l": 2}}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_files_that_are_not_utf8_are_refused_with_the_line(tmp_path, encoding):
    (tmp_path / "x.yaml").write_text("a: 1\ntitle: Größe\n", encoding=encoding)
    with pytest.raises(ConfigError, match=rf"x\.yaml, line {2 if encoding == 'latin-1' else 1}: not UTF-8; save"):
        read_yaml(tmp_path / "x.yaml")


@pytest.mark.parametrize("name", ["x" * 6000, "x\0y", "."])
def test_names_that_are_no_file_are_refused(name):
    with pytest.raises(ConfigError, match=r"no such|cannot be read") as told:
        read_yaml(Path(name))
    assert len(str(told.value)) < 300


def test_a_file_too_large_for_settings_is_refused_before_it_is_parsed(tmp_path):
    (tmp_path / "x.yaml").write_text("# " + "x" * 2_000_000)
    with pytest.raises(ConfigError, match="more than 1,048,576 bytes are no settings file"):
        read_yaml(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("value", "message"),
    [(10**5000, "bits"), (float("inf"), "finite"), ("\udc80", "UTF-8"), ("x" * 9000, "not valid")],
    ids=["digits", "infinity", "half a letter", "long"],
)  # fmt: skip
def test_absurd_values_given_in_code_are_refused_in_a_line(value, message):
    with pytest.raises(ConfigError, match=rf"here: .*{message}") as told:
        Example.build({"n_layers": value}, "here")
    assert len(str(told.value)) < 300


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


class Truths(Settings):
    epochs: int | None = None
    rate: float = 0.5
    seeds: tuple[int, ...] = (1,)
    on: bool = False
    mode: Literal["a"] | bool = "a"
    options: dict[str, Any] | list[Any] = Field(default_factory=dict)


@pytest.mark.parametrize("values", [{"epochs": True}, {"rate": False}, {"seeds": [True]}, {"seeds": (1, False)}])
def test_a_truth_value_is_no_number(values):
    with pytest.raises(ConfigError, match="true and false are no numbers or texts"):
        Truths.build(values)


def test_truth_values_are_taken_where_they_mean_something():
    built = Truths.build({"on": True, "mode": False, "options": [True]})
    assert (built.on, built.mode, built.options) == (True, False, [True])

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from lmmrec_core.digests import canonical_json
from lmmrec_core.encoders.features.ready import ready_features
from lmmrec_core.encoders.features.store import FeatureStore
from lmmrec_core.errors import FeatureError
from tests.encoders.toys import catalogue_of, random_features

SPEC = {
    "encoders": {"visual": {"weights": {"sha256": "ab"}, "image": {"size": 224, "mean": [0.5, 0.5, 0.5]}}},
    "items": {"fingerprint": "cd", "order": "ef", "count": 12},
    "missing": {"rule": "mean"},
}


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "features")


def same(a, b):
    return (
        a.digest == b.digest
        and a.card == b.card
        and list(a.matrices) == list(b.matrices)
        and all(np.array_equal(a.matrices[m], b.matrices[m]) for m in a.matrices)
        and all(np.array_equal(a.present[m], b.present[m]) for m in a.present)
    )


def test_what_is_saved_is_loaded(store):
    features, key = random_features(), store.key(SPEC)
    assert store.load(key, SPEC) is None
    path = store.save(key, features, SPEC)
    assert path.name == f"{key}.safetensors"
    assert same(features, store.load(key, SPEC))
    assert sorted(p.name for p in store.root.iterdir()) == [f"{key}.card.md", f"{key}.safetensors"]


def test_features_are_found_by_their_content(store):
    one, two = (random_features(seed=seed) for seed in (1, 2))
    for number, features in enumerate((one, two)):
        spec = {**SPEC, "number": number}
        store.save(store.key(spec), features, spec)
    (store.root / "no-features.safetensors").write_bytes(b"x")
    assert same(store.with_digest(two.digest), two) and store.with_digest("0" * 64) is None
    assert FeatureStore(store.root / "nowhere").with_digest(one.digest) is None


def test_file_layout_for_other_readers(store):
    path = store.save(store.key(SPEC), random_features(), SPEC)
    tensors = load_file(path)
    assert set(tensors) == {"visual", "textual", "has_visual", "has_textual", "item_count"}
    assert tensors["visual"].dtype == np.float32 and tensors["has_textual"].dtype == np.uint8
    assert tensors["item_count"].tolist() == [12]
    assert tensors["has_textual"].tolist() == [1, 1, 0] + [1] * 9


def fields(value, place=()):
    """All leaves of a spec, as paths."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from fields(part, (*place, key))
    elif isinstance(value, list):
        for key, part in enumerate(value):
            yield from fields(part, (*place, key))
    else:
        yield place


@pytest.mark.parametrize("place", list(fields(SPEC)), ids=str)
def test_every_field_of_the_spec_is_in_the_key(store, place):
    changed = json.loads(json.dumps(SPEC))
    part = changed
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = "other"
    assert store.key(changed) != store.key(SPEC)


def test_the_key_is_the_same_in_any_order_and_process(store, root):
    turned = {key: SPEC[key] for key in reversed(SPEC)}
    code = "import json, sys; from lmmrec_core.encoders.features.store import FeatureStore; from pathlib import Path;"
    code += "print(FeatureStore(Path('x')).key(json.loads(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(turned)], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == store.key(SPEC) == store.key(turned)
    assert len(store.key(SPEC)) == 16 and int(store.key(SPEC), 16) >= 0


@pytest.mark.parametrize("bits", [0x01, 0x20, 0x80])
def test_a_flipped_byte_anywhere_is_refused(store, bits):
    key = store.key(SPEC)
    path = store.save(key, random_features(6, (2, 2)), SPEC)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ bits]) + whole[position + 1 :])
        with pytest.raises(FeatureError, match=rf"{key}\.safetensors.*delete it"):
            store.load(key, SPEC)
    path.write_bytes(whole)
    assert store.load(key, SPEC) is not None


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_cut_file_is_refused(store, keep):
    key = store.key(SPEC)
    path = store.save(key, random_features(), SPEC)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FeatureError, match="damaged feature file"):
        store.load(key, SPEC)


def test_a_file_of_another_spec_under_this_name_is_refused(store):
    other = {**SPEC, "missing": {"rule": "zero"}}
    path = store.save(store.key(other), random_features(), other)
    path.rename(store.path(store.key(SPEC)))
    with pytest.raises(FeatureError, match=r"another spec \(different: missing\.rule\)"):
        store.load(store.key(SPEC), SPEC)
    with pytest.raises(FeatureError, match="not the key of this spec"):
        store.save("0" * 16, random_features(), SPEC)


def test_computed_once(store):
    calls = []

    def compute():
        calls.append(1)
        return random_features()

    first, second = store.get_or_compute(SPEC, compute), store.get_or_compute(SPEC, compute)
    assert calls == [1] and same(first, second)
    store.get_or_compute({**SPEC, "missing": {"rule": "zero"}}, compute)
    assert calls == [1, 1]


def test_a_damaged_file_is_moved_aside_and_computed_again(store, recwarn):
    path = store.save(store.key(SPEC), random_features(), SPEC)
    damaged = path.read_bytes()[:-3]
    path.write_bytes(damaged)
    with pytest.warns(UserWarning, match=rf"{path.name}.*{path.stem}\.damaged"):
        features = store.get_or_compute(SPEC, lambda: random_features(seed=5))
    assert features.digest == random_features(seed=5).digest
    assert path.with_suffix(".damaged").read_bytes() == damaged
    assert store.damaged == [path.with_suffix(".damaged")]
    assert same(store.load(path.stem, SPEC), features)


def test_a_failing_computation_leaves_nothing(store):
    def compute():
        raise FeatureError("no picture")

    with pytest.raises(FeatureError, match="no picture"):
        store.get_or_compute(SPEC, compute)
    assert list(store.root.iterdir()) == []


FULL_DISK = """
import resource, sys
from pathlib import Path
from lmmrec_core.encoders.features.store import FeatureStore
from lmmrec_core.errors import FeatureError
from tests.encoders.features.test_store import SPEC
from tests.encoders.toys import random_features
store = FeatureStore(Path(sys.argv[1]))
key = store.key(SPEC)
features = random_features(2000, (64, 8))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.save(key, features, SPEC)
except FeatureError as error:
    print(error)
"""


def test_a_disk_without_room_leaves_no_half_file(store, root):
    """The system itself refuses the write: the process may write 100 kB, the features need 580 kB."""
    store.save(store.key(SPEC), random_features(), SPEC)
    before = {path.name: path.read_bytes() for path in store.root.iterdir()}
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(store.root)], cwd=root, capture_output=True, text=True, check=True
    )
    assert str(store.root) in done.stdout
    needed = int(re.search(r"free ([\d,]+) bytes", done.stdout)[1].replace(",", ""))
    assert 2000 * (64 + 8) * 4 < needed < 2000 * (64 + 8) * 4 + 10_000
    assert {path.name: path.read_bytes() for path in store.root.iterdir()} == before  # the older file is untouched


def test_a_folder_that_cannot_be_made_is_found_before_computing(tmp_path):
    (tmp_path / "file").write_text("")
    store = FeatureStore(tmp_path / "file" / "features")
    with pytest.raises(FeatureError, match="cannot be made"):
        store.get_or_compute(SPEC, lambda: pytest.fail("computed for nothing"))


def test_the_card_is_readable(store):
    features = random_features()
    features.card.update(
        created="2024-01-02T03:04:05+00:00",
        modalities={"visual": {"encoder": "lite0", "items": 12, "dim": 5, "missing": 2}},
    )
    path = store.save(store.key(SPEC), features, SPEC)
    text = path.with_name(f"{path.stem}.card.md").read_text(encoding="utf-8")
    assert "| visual | lite0 | 12 | 5 | 2 |" in text
    assert features.digest in text


@settings(max_examples=30)
@given(st.dictionaries(st.text(max_size=8), st.one_of(st.integers(), st.text(max_size=20), st.none()), max_size=4))
def test_any_text_in_spec_and_card_survives(tmp_path_factory, values):
    store = FeatureStore(tmp_path_factory.mktemp("features"))
    spec = {**SPEC, "own": values}
    features = random_features(3, (1, 1))
    features.card["own"] = values
    try:
        canonical_json(spec).encode()
    except UnicodeEncodeError:
        return  # lone surrogates are no text
    store.save(store.key(spec), features, spec)
    assert same(store.load(store.key(spec), spec), features)


class TestReadyFeatures:
    visual = np.array([[1, 2], [3, 4], [5, 9]], dtype=np.float32)

    def of(self, **matrices):
        return catalogue_of(["a", "b", "c"], [None] * 3, ready_features=matrices)

    def test_taken_as_they_are(self):
        features = ready_features(self.of(textual=self.visual * 2, visual=self.visual))
        assert list(features.matrices) == ["visual", "textual"]
        assert np.array_equal(features.matrices["visual"], self.visual)
        assert features.present["visual"].all()

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
    def test_values_that_are_not_finite_name_the_item(self, bad):
        broken = self.visual.astype(np.float64)
        broken[1, 0] = bad
        for missing in ("error", "mean", "zero"):
            with pytest.raises(FeatureError, match=r"catalogue 'toy': visual features of item 'i1' \(row 1\)"):
                ready_features(self.of(visual=broken), missing)

    def test_rows_without_record(self):
        lacking = self.visual.copy()
        lacking[2] = np.nan
        with pytest.raises(FeatureError, match="item 'i2'"):
            ready_features(self.of(visual=lacking))
        features = ready_features(self.of(visual=lacking), "mean")
        assert features.matrices["visual"].tolist() == [[1, 2], [3, 4], [2, 3]]
        assert features.present["visual"].tolist() == [True, True, False]
        assert features.card["modalities"]["visual"]["missing"] == 1

    @pytest.mark.parametrize(
        ("matrix", "words"),
        [
            (np.zeros((2, 4)), "2 rows for 3 items"),
            (np.zeros(3), "shape"),
            (np.zeros((3, 0)), "no columns"),
            (np.array([["a"], ["b"], ["c"]]), "matrix of numbers"),
        ],
    )
    def test_shapes(self, matrix, words):
        with pytest.raises(FeatureError, match=words):
            ready_features(self.of(visual=matrix))

    def test_none(self):
        with pytest.raises(FeatureError, match="brings no features"):
            ready_features(self.of())


@pytest.mark.parametrize("lost", ["gone", "changed"])
def test_a_card_that_a_kill_or_damage_has_cost_is_written_again(store, lost):
    features, key = random_features(), store.key(SPEC)
    card = store.save(key, features, SPEC).with_name(f"{key}.card.md")
    whole = card.read_bytes()
    card.unlink() if lost == "gone" else card.write_bytes(whole[:-5])
    assert same(store.get_or_compute(SPEC, lambda: pytest.fail("they are stored")), features)
    assert card.read_bytes() == whole

"""Every kind of file below results/ and .cache/ is damaged at random places: each time it is noticed, or made again.

A file that no kind below fits fails the test: whoever adds one says here how damage to it is noticed.
"""

import json
import os
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from itertools import count
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors import safe_open

from lmmrec_core import checkpoints
from lmmrec_core.disk import read_sealed
from lmmrec_core.encoders.features.store import FeatureStore
from lmmrec_core.errors import LmmrecError, ResultError
from lmmrec_core.flow import Features, Result
from lmmrec_core.results.archive import USERS
from lmmrec_core.results.crate import Crate, write_crate
from lmmrec_core.results.packing import pack
from lmmrec_core.results.provenance import code_now
from lmmrec_core.results.store import ResultStore
from lmmrec_core.study.calibration.files import add_line, part_path, read_environments, read_lines
from lmmrec_core.study.calibration.listings import read_listing
from lmmrec_core.study.calibration.worlds import worlds_of
from lmmrec_core.study.cases import Case
from lmmrec_core.study.datasets import stored_statistics
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.diagnostics import read_diagnostics
from lmmrec_core.study.inputs import prepare_cases
from lmmrec_core.study.joint.attach import trained_encoder_of
from lmmrec_core.study.own.kept import read_kept
from lmmrec_core.study.run import run_case
from lmmrec_core.study.search.grids import Point
from lmmrec_core.study.search.search import search_settings
from lmmrec_core.study.search.summary import read_summary
from lmmrec_core.study.search.trials import TrialFolder
from lmmrec_core.study.stored import check_stored
from lmmrec_core.study.weights import notes
from lmmrec_core.study.weights.pretraining_items import outside_folder
from lmmrec_core.study.weights.records import read_encoder_records
from lmmrec_core.study.workspace import Workspace
from tests.study.calibration.conftest import keep_listing, made_line
from tests.study.conftest import SEARCH_GRID, tiny_workspace

PER_KIND = int(os.environ.get("LMMREC_DAMAGES", "16"))  # damages of each kind of file
CASES = [
    {"model": "popularity"},
    {"model": "bpr"},
    *({"model": "vbpr", "encoder": e, "paradigm": p, "modalities": "V&T"}
      for e, p in (("baseline", "none"), ("clip", "FT"), ("clip", "ETE"))),
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Tiny:
    """A study with a file of every kind, and how each kind is read again."""

    workspace: Workspace
    packed: ResultStore  # the same results without run folders
    features: dict[str, tuple[dict, Features]]  # spec and features by key
    trained: Result  # of an end-to-end run
    points: dict[str, Point]  # of trials, by the name of their file
    frames: dict[str, pd.DataFrame]  # values per user, by the name of the run folder

    @property
    def home(self) -> Path:
        return self.workspace.results.parent

    def kinds(self) -> dict[str, Callable[[Path], object]]:
        """Pattern of a file's place → what reads it."""
        results, track, store = self.workspace.results, self.workspace.track, self.workspace.store
        return {
            "results/controls/*/run.json": lambda file: store.record(file.parent),
            "results/controls/*/per_user.parquet": lambda file: store.load(file.parent),
            "results/controls/*/top50.parquet": lambda file: store.top_items(store.record(file.parent)),
            "results/controls/*/model.safetensors": read_kept,
            "results/controls/*/dataset.json": lambda _: stored_statistics(track, results),
            "results/controls/*/features/*.json": lambda _: read_diagnostics(track, results),
            "results/controls/*encoders/*.json": lambda _: read_encoder_records(track, results),
            "results/controls/search/*.json": read_summary,
            "results/calibration/*.jsonl": read_lines,
            "results/calibration/environments.json": lambda file: read_environments(file.parent),
            "results/calibration/provenance.json": lambda _: read_listing(results, "mde-controls"),
            "results/calibration/*.csv": lambda _: read_listing(results, "mde-controls"),
            "packed/*.records.jsonl": lambda _: self.read_packed(),
            "packed/*.users.parquet": lambda _: self.read_packed(),
            ".cache/catalogues/outside-*": lambda _: outside_folder(self.workspace, 120, 7),
            ".cache/catalogues/*": lambda _: replace(self.workspace).dataset("complementary"),
            ".cache/features/*": lambda file: self.read_features(file.name.split(".")[0]),
            ".cache/encoders/*-ETE-*": lambda _: trained_encoder_of(self.workspace, self.trained),
            ".cache/encoders/*": lambda file: notes.is_made(file.with_suffix(".safetensors")),
            ".cache/checkpoints/*.pt": lambda file: checkpoints.load(file, "a run"),
            ".cache/search/*.json": lambda file: TrialFolder(file.parent).get(self.points[file.stem]),
        }

    def read_packed(self) -> None:
        """Each run has a digest of its rows: bytes between them, which mean nothing, may change; values may not."""
        for record in self.packed.find_records():
            pd.testing.assert_frame_equal(self.packed.load_record(record).per_user, self.frames[record.path.name])

    def read_features(self, key: str) -> None:
        spec, features = self.features[key]
        FeatureStore(self.workspace.features).get_or_compute(spec, lambda: features)

    def files(self) -> dict[str, list[Path]]:
        """Kind → its files; each belongs to the first kind that fits."""
        found: dict[str, list[Path]] = {kind: [] for kind in self.kinds()}
        for file in sorted(path for path in self.home.rglob("*") if path.is_file() and path.suffix != ".lock"):
            place = file.relative_to(self.home).as_posix()
            kind = next((kind for kind in found if fnmatch(place, kind)), None)
            assert kind, f"{place}: no kind of file that this test knows; say how damage to it is noticed"
            found[kind].append(file)
        return found


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Tiny:
    home = tmp_path_factory.mktemp("damaged")
    workspace = tiny_workspace(home / "results", home / ".cache")
    place = {"track": "controls", "dataset": "complementary", "seed": 1}
    done = [
        run_case(todo, workspace)
        for todo in prepare_cases([Case.build({**place, **c}, "c") for c in CASES], workspace)[0]
    ]
    search_settings(workspace, "itemknn", "complementary", grid=SEARCH_GRID, trials=2)
    world = worlds_of("null", 1)[0]
    add_line(part_path(workspace.results, "null"), made_line(world, read_track("controls")), code_now())
    keep_listing(workspace.results, "mde-controls", pd.DataFrame({"p": [0.1, 0.25], "pair": ["a", "b"]}))
    checkpoints.save(workspace.checkpoints / "under-way.pt", "a run", {"w": torch.randn(50), "history": [(1, 0.5)]})
    pack(workspace.store, "controls", "complementary")
    for file in (workspace.results / "controls").glob("complementary.*"):
        (home / "packed" / "controls").mkdir(parents=True, exist_ok=True)
        file.rename(home / "packed" / "controls" / file.name)
    features = {}
    for file in workspace.features.glob("*.safetensors"):
        with safe_open(file, framework="np") as content:
            spec = json.loads(content.metadata()["spec"])
        features[file.stem] = (spec, FeatureStore(workspace.features).load(file.stem, spec))
    points = {file.stem: read_sealed(file)["settings"] for file in workspace.cache.glob("search/*/*.json")}
    frames = {
        record.path.name: workspace.store.load_record(record).per_user for record in workspace.store.find_records()
    }
    packed = ResultStore(home / "packed", workspace.store.measure)
    return Tiny(workspace, packed, features, done[-1], points, frames)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Other bytes: a bit flipped, a byte drawn, a block of zeros, an end cut off, nothing left, or something more."""
    place = chance.randrange(len(content))
    ways = [
        lambda: content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :],
        lambda: content[:place] + chance.randbytes(1) + content[place + 1 :],
        lambda: content[:place] + bytes(min(64, len(content) - place)) + content[place + 64 :],
        lambda: content[:place],
        lambda: b"",
        lambda: content + b"x",
    ]
    for way in chance.choices(ways, weights=[6, 3, 2, 2, 1, 1], k=20):
        if (other := way()) != content:
            return other
    raise AssertionError("nothing changes these bytes")


def noticed(read: Callable[[Path], object], file: Path, content: bytes) -> bool:
    """Whether reading refuses the file, warns of it, or leaves it as it was before the damage."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            read(file)
        except LmmrecError as error:
            return file.name in str(error) or file.parent.name in str(error)
    if file.name.endswith(USERS):
        return True  # `read` has compared all values
    named = [str(warning.message) for warning in told]
    return any(file.stem in text or file.parent.name in text or file.parents[1].name in text for text in named) or (
        file.is_file() and file.read_bytes() == content
    )


def test_damage_to_any_file_is_noticed(tiny: Tiny) -> None:
    chance, clock, kinds, unnoticed, tried = random.Random(16), count(1), tiny.kinds(), [], 0
    for kind, files in tiny.files().items():
        assert files, f"no file of kind {kind}: the test does not try it"
        for number in range(PER_KIND):
            file = files[number % len(files)] if len(files) <= PER_KIND else chance.choice(files)
            content = file.read_bytes()
            other = damaged(content, chance)
            write(file, other, clock)
            tried += 1
            if not noticed(kinds[kind], file, content):
                unnoticed.append((kind, file.name, len(content), len(other)))
            aside, weights = file.with_suffix(".damaged"), file.with_suffix(".safetensors")
            if aside.is_file() and not weights.is_file():  # a damaged note moves its weights aside
                aside.rename(weights)
            write(file, content, clock)
            aside.unlink(missing_ok=True)
            assert number % 4 or noticed(kinds[kind], file, content), (
                f"{file}: not the same after the damage was repaired"
            )
    assert unnoticed == [], f"{len(unnoticed)} of {tried}"


def test_no_crate_is_made_of_any_damaged_file(tiny: Tiny, tmp_path: Path) -> None:
    chance, clock = random.Random(17), count(10**6)
    track = tiny.workspace.track

    def make(store: ResultStore, target: Path) -> Crate:
        return write_crate(
            store, "controls", track.title, "", target, lambda file: check_stored(file, store.root / "controls")
        )

    sound = make(tiny.workspace.store, tmp_path / "sound")
    assert not sound.unknown and sound.files > 20  # every kind of file is known
    tried = 0
    for kind, files in tiny.files().items():
        if not kind.startswith("results/controls/"):
            continue
        for file in chance.sample(files, min(2, len(files))):
            content = file.read_bytes()
            write(file, damaged(content, chance), clock)
            with pytest.raises(ResultError, match="these files are damaged") as told:
                make(tiny.workspace.store, tmp_path / "crate")
            assert file.name in str(told.value) and not (tmp_path / "crate").exists()
            write(file, content, clock)
            tried += 1
    assert tried >= 10
    for file in (tiny.packed.root / "controls").iterdir():
        content = file.read_bytes()
        write(file, content[: len(content) // 2], clock)
        with pytest.raises(ResultError, match="these files are damaged"):
            make(tiny.packed, tmp_path / "crate")
        write(file, content, clock)
    make(tiny.packed, tmp_path / "packed")


def write(file: Path, content: bytes, clock: Iterator[int]) -> None:
    """With a time of its own, by which readers tell that a file has changed: writes of one tick would look alike."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    os.utime(file, ns=(0, 10**9 * next(clock)))

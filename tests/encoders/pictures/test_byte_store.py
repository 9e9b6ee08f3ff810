"""Pictures are decoded once into bytes, and come out as the pixels that the encoder makes of them, bit by bit."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lmmrec_core.encoders.clip.encoder import CLIP
from lmmrec_core.encoders.clip.settings import CLIPSettings
from lmmrec_core.encoders.clip.tiny import ClipTiny
from lmmrec_core.encoders.extract import extract, made_ahead
from lmmrec_core.encoders.features.item_rows import item_content
from lmmrec_core.encoders.fine_tuning.pairs import collect_pairs
from lmmrec_core.encoders.pictures import byte_store, decoding
from lmmrec_core.encoders.pictures.byte_store import PictureBytes, picture_bytes, room_for
from lmmrec_core.encoders.pictures.reading import read_picture
from lmmrec_core.encoders.pictures.rule import CLIP_MEAN, CLIP_STD, HALF, ImageRule, picture_rule
from lmmrec_core.encoders.vlmo.presets import VLMoTiny
from lmmrec_core.errors import FeatureError
from tests.encoders.toys import MeanColour, catalogue_of, draw

CPU = torch.device("cpu")
RULES = [ImageRule(16, "crop"), ImageRule(16, "squash", HALF, HALF), ImageRule(16, "pad", CLIP_MEAN, CLIP_STD)]


def made_up(folder, n=12, absent=(4,), size=(30, 21)):
    folder.mkdir(exist_ok=True)
    images = []
    for number in range(n):
        draw(number, size).save(folder / f"{number}.png")
        images.append(None if number in absent else folder / f"{number}.png")
    return catalogue_of([f"word{number} other" for number in range(n)], images)


def with_picture(catalogue):
    return np.array([i for i, image in enumerate(catalogue.images) if image is not None])


def pictures_in(catalogue, items):
    return [read_picture(catalogue.images[i], catalogue.item_ids[i]) for i in items]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.fit)
@pytest.mark.parametrize("kept", ["memory", "file"])
def test_bytes_become_the_pixels_of_the_rule(rule, kept, tmp_path):
    catalogue = made_up(tmp_path / "images")
    items = with_picture(catalogue)[[5, 0, 3, 5]]
    path = tmp_path / "kept" / "a.npy" if kept == "file" else None
    store = picture_bytes(rule, catalogue, path=path, progress=False)
    expected = rule.pixels(pictures_in(catalogue, items))
    found = store.pixels(items, CPU)
    assert torch.equal(found, expected) and found.stride() == expected.stride()
    assert store.kept.nbytes * 4 == 11 * expected[0].numel() * 4
    settled = store.settle(CPU, free=10**9)
    assert settled is not None and torch.equal(store.pixels(items, CPU), expected)
    del settled
    assert not store._settled and store.settle(CPU, free=10) is None


def test_a_second_call_reads_no_picture(tmp_path, monkeypatch):
    catalogue, path = made_up(tmp_path / "images"), tmp_path / "a.npy"
    first = picture_bytes(RULES[0], catalogue, path=path, identity="x", progress=False)
    monkeypatch.setattr(decoding, "read_picture", None)
    again = picture_bytes(RULES[0], catalogue, path=path, identity="x", progress=False)
    assert np.array_equal(first.kept, again.kept) and first.known == again.known
    assert isinstance(again.kept, np.memmap)
    other = replace(RULES[0], mean=HALF, std=HALF)  # the affine step is not in the file
    assert picture_bytes(other, catalogue, path=path, identity="x", progress=False).rule == other


def damage(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (damage, "another digest"),
        (lambda path: os.truncate(path, path.stat().st_size - 9), "another digest"),
        (lambda path: path.with_suffix(".json").write_text("{"), "damaged"),
        (lambda path: path.with_suffix(".json").unlink(), None),
    ],
)
def test_what_is_damaged_or_half_there_is_made_again(harm, told, tmp_path, recwarn):
    catalogue, path = made_up(tmp_path / "images"), tmp_path / "a.npy"
    kept = np.array(picture_bytes(RULES[0], catalogue, path=path, progress=False).kept)
    harm(path)
    os.utime(path, (1, 1))
    again = picture_bytes(RULES[0], catalogue, path=path, progress=False)
    assert np.array_equal(again.kept, kept)
    warned = [str(w.message) for w in recwarn if "decoded again" in str(w.message)]
    assert [told in text for text in warned] == [True] if told else warned == []


def test_other_pictures_are_not_taken_for_these(tmp_path):
    catalogue, path = made_up(tmp_path / "images"), tmp_path / "a.npy"
    picture_bytes(RULES[0], catalogue, path=path, identity="one", progress=False)
    draw(99, (30, 21)).save(tmp_path / "images" / "0.png")
    with pytest.warns(UserWarning, match="other pictures"):
        again = picture_bytes(RULES[0], catalogue, path=path, identity="two", progress=False)
    assert torch.equal(again.pixels(np.array([0]), CPU), RULES[0].pixels([draw(99, (30, 21))]))


def test_processes_give_the_same_file(tmp_path):
    catalogue = made_up(tmp_path / "images", 80)
    alone, several = (
        picture_bytes(RULES[0], catalogue, path=tmp_path / f"{n}.npy", processes=n, progress=False) for n in (1, 2)
    )
    assert (tmp_path / "1.npy").read_bytes() == (tmp_path / "2.npy").read_bytes() and alone.known == several.known


def test_a_picture_that_cannot_be_read_is_told_where_it_is_needed(tmp_path):
    catalogue, path = made_up(tmp_path / "images"), tmp_path / "a.npy"
    (tmp_path / "images" / "3.png").write_bytes(b"no picture")
    for _ in range(2):
        store = picture_bytes(RULES[0], catalogue, path=path, progress=False)
        store.pixels(np.array([0, 1]), CPU)
        with pytest.raises(FeatureError, match=r"item 'i3': picture .*3.png cannot be read"):
            store.pixels(np.array([0, 3]), CPU)
    draw(3, (30, 21)).save(tmp_path / "images" / "3.png")
    with pytest.warns(UserWarning, match="'i3' can be read now"):
        again = picture_bytes(RULES[0], catalogue, path=path, progress=False)
    assert torch.equal(again.pixels(np.array([3]), CPU), RULES[0].pixels([draw(3, (30, 21))]))


def no_room(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_told_once_and_pictures_are_decoded_into_memory(tmp_path, monkeypatch, recwarn):
    catalogue, path = made_up(tmp_path / "images"), tmp_path / "kept" / "a.npy"
    monkeypatch.setattr(byte_store, "reserve", no_room)
    monkeypatch.setattr(byte_store, "decode_into", None)  # it is told before a picture is decoded
    items = with_picture(catalogue)
    for _ in range(2):
        store = picture_bytes(RULES[0], catalogue, path=path, progress=False)
        assert torch.equal(store.pixels(items, CPU), RULES[0].pixels(pictures_in(catalogue, items)))
        assert [file.name for file in path.parent.iterdir()] == ["a.lock"]
    (told,) = [str(warning.message) for warning in recwarn]
    assert re.search(r"a.npy: could not be written \(No space left on device\); free 8,\d\d\d bytes .* memory", told)


def test_a_folder_that_cannot_be_made_is_told_and_pictures_are_decoded_into_memory(tmp_path):
    catalogue = made_up(tmp_path / "images")
    (tmp_path / "kept").write_text("a file")
    with pytest.warns(UserWarning, match=r"a.lock: cannot be written .* decoded into memory"):
        store = picture_bytes(RULES[0], catalogue, path=tmp_path / "kept" / "a.npy", progress=False)
    assert not isinstance(store.kept, np.memmap) and not store.fault(0)


def test_what_does_not_fit_on_the_disk_of_unnamed_files_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(byte_store, "reserve", no_room)
    with pytest.raises(FeatureError, match=r"no room for 400 bytes of pictures .* set TMPDIR"):
        room_for((10, 10), np.float32, tmp_path, most=399)


@pytest.mark.parametrize("fault", [None, errno.EINVAL, errno.EOPNOTSUPP])
def test_where_a_system_reserves_nothing_the_file_is_the_same(fault, tmp_path, monkeypatch):
    catalogue = made_up(tmp_path / "images")
    picture_bytes(RULES[0], catalogue, path=tmp_path / "a.npy", progress=False)
    if fault is None:  # macOS, Windows
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:

        def refuse(*_):
            raise OSError(fault, os.strerror(fault))

        monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    picture_bytes(RULES[0], catalogue, path=tmp_path / "b.npy", progress=False)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_an_item_without_a_picture_is_refused(tmp_path):
    store = picture_bytes(RULES[0], made_up(tmp_path / "images"), progress=False)
    asked = (store.fault, store.digest, lambda item: store.pixels(np.array([0, item]), CPU))
    for ask in asked:
        with pytest.raises(FeatureError, match=r"item at position 4 \(from 0\) has no picture"):
            ask(4)


SCRIPT = """
from pathlib import Path
from lmmrec_core.encoders.pictures.byte_store import picture_bytes
from tests.encoders.pictures.test_byte_store import RULES, made_up
print("begins")
folder = Path("FOLDER")
picture_bytes(RULES[0], made_up(folder / "images", 64), path=folder / "a.npy", processes=2, progress=False)
"""


@pytest.mark.parametrize("given", ["file", "stdin"])
def test_a_script_that_guards_nothing_is_not_run_again_by_the_processes(given, tmp_path, root):
    script = SCRIPT.replace("FOLDER", str(tmp_path))
    (tmp_path / "script.py").write_text(script)
    call = [sys.executable, str(tmp_path / "script.py") if given == "file" else "-"]
    done = subprocess.run(
        call, input=script, capture_output=True, text=True, cwd=root, timeout=120,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "begins\n"), done.stderr
    picture_bytes(RULES[0], made_up(tmp_path / "images", 64), path=tmp_path / "b.npy", processes=1, progress=False)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk without room")
def test_a_disk_that_fills_up_while_pictures_are_written_is_no_crash(tmp_path):
    catalogue = made_up(tmp_path / "images", 2, absent=())
    files = [decoding.PictureFile("i0", catalogue.images[0])]
    with pytest.raises(OSError, match="No space left"):
        decoding.decode_into(Path("/dev/full"), 0, RULES[0], files, progress=False)


KILLED = """
import sys, time
from pathlib import Path
from lmmrec_core.encoders.pictures import decoding
from lmmrec_core.encoders.pictures.byte_store import picture_bytes
from tests.encoders.pictures.test_byte_store import RULES, made_up
slow = decoding.read_picture
def read_picture(path, item):
    if item == "i7":
        print("half-way", flush=True)
        time.sleep(60)
    return slow(path, item)
decoding.read_picture = read_picture
folder = Path(sys.argv[1])
picture_bytes(RULES[0], made_up(folder / "images"), path=folder / "a.npy", progress=False)
"""


def test_killed_half_way_it_is_made_again(tmp_path, root):
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=root)
    assert child.stdout.readline() == "half-way\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "a.npy").exists() and any(tmp_path.glob(".partial-*"))
    catalogue = made_up(tmp_path / "images")
    store = picture_bytes(RULES[0], catalogue, path=tmp_path / "a.npy", progress=False)
    assert not any(tmp_path.glob(".partial-*"))
    items = with_picture(catalogue)
    assert torch.equal(store.pixels(items, CPU), RULES[0].pixels(pictures_in(catalogue, items)))


def encoders():
    return [ClipTiny(ClipTiny.Settings(model="clip-tiny-32", seed=1)), VLMoTiny(VLMoTiny.Settings(seed=1))]


@pytest.mark.parametrize("number", [0, 1], ids=["clip", "vlmo"])
def test_all_three_paradigms_read_the_same_file_to_the_same_bits(number, tmp_path, monkeypatch):
    encoder, catalogue = encoders()[number], made_up(tmp_path / "images", 40)
    plain = extract({m: encoder for m in encoder.modalities}, catalogue, progress=False)
    items = with_picture(catalogue)
    pixels = encoder.preprocess_images(pictures_in(catalogue, items))
    rule = picture_rule(encoder)
    store = picture_bytes(rule, catalogue, path=tmp_path / "a.npy", progress=False)
    monkeypatch.setattr(decoding, "read_picture", None)
    kept = extract({m: encoder for m in encoder.modalities}, catalogue, progress=False, pictures=store)
    assert kept.digest == plain.digest
    pairs = collect_pairs(catalogue, encoder, share=0.3, progress=False, pictures=store)
    assert np.array_equal(pairs.pixels[np.arange(len(pairs))], pixels.numpy())
    batch = pairs.batch(np.array([7, 2]))
    assert torch.equal(batch.take(torch.tensor([1, 0, 0]), torch.tensor([0, 1, 1]), "cpu")[0], pixels[[2, 7, 7]])
    content = item_content(encoder, catalogue, plain, progress=False, pictures=store)
    inputs = content.inputs("visual", torch.arange(40), CPU)
    assert torch.equal(inputs[torch.from_numpy(items)], pixels) and not inputs[4].any() and inputs.is_contiguous()


def test_an_encoder_that_prepares_pictures_its_own_way_has_no_rule():
    class Other(ClipTiny):
        def preprocess_images(self, images):
            return super().preprocess_images(images) / 2

    assert picture_rule(encoders()[0]) == encoders()[0].image
    assert picture_rule(Other(ClipTiny.Settings(model="clip-tiny-32", seed=1))) is None
    assert picture_rule(MeanColour()) is None and picture_rule(object()) is None
    assert picture_rule(CLIP(CLIPSettings(model="ViT-B-32", seed=0))).size == 224


def test_the_next_part_is_made_while_one_is_used():
    made = []

    def make(part):
        made.append(part)
        return part * 10

    parts = [np.array([n]) for n in range(4)]
    for place, (part, value) in enumerate(made_ahead(make, parts)):
        deadline = time.monotonic() + 10
        while len(made) < min(4, place + 2) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert value == part * 10 and len(made) == min(4, place + 2)
    assert list(made_ahead(make, [])) == []


def test_what_is_known_is_plain(tmp_path):
    path = tmp_path / "a.npy"
    store = picture_bytes(RULES[0], made_up(tmp_path / "images"), path=path, identity="x", progress=False)
    assert isinstance(store, PictureBytes)
    record = json.loads(path.with_suffix(".json").read_text())["made"]
    assert record["identity"] == "x" and len(record["pictures"]) == 11 and "mean" not in record["rule"]

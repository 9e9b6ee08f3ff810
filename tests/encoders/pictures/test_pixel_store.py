"""Pictures come back bit by bit, in a quarter of the memory where they were bytes before."""

import pytest
import torch

from lmmrec_core.encoders.clip.encoder import CLIP
from lmmrec_core.encoders.clip.settings import CLIPSettings
from lmmrec_core.encoders.pictures.pixel_store import PixelStore
from lmmrec_core.encoders.vlmo.presets import TinySettings, VLMoTiny
from tests.encoders.toys import draw

MEAN, STD = torch.tensor([0.48, 0.46, 0.41])[:, None, None], torch.tensor([0.27, 0.26, 0.28])[:, None, None]


def pictures(n, seed=0, size=9):
    levels = torch.randint(0, 256, (n, 3, size, size), generator=torch.Generator().manual_seed(seed))
    return (levels.float() / 255 - MEAN) / STD


@pytest.mark.parametrize("chunk", [1, 3, 20])
def test_what_was_bytes_comes_back_exactly_in_a_quarter(chunk):
    given, store = pictures(20), PixelStore(20)
    for items in torch.randperm(20, generator=torch.Generator().manual_seed(1)).split(chunk):
        store.put(items, given[items])
    assert torch.equal(store.rows(torch.arange(20)), given) and store.bytes == given.numel()
    assert torch.equal(store.rows(torch.tensor([7, 2, 7])), given[[7, 2, 7]])


def test_items_that_were_never_put_are_zero_whatever_comes_later():
    given, store = pictures(4), PixelStore(6)
    store.put(torch.tensor([0, 1]), given[:2])
    store.put(torch.tensor([4, 5]), given[2:])
    assert not store.rows(torch.tensor([2, 3])).any()
    assert torch.equal(store.rows(torch.tensor([0, 1, 4, 5])), given)


def test_other_pictures_are_kept_as_they_are():
    given, store = pictures(6), PixelStore(6)
    given[4:] = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(3))
    for items in torch.arange(6).split(2):  # the first four fit bytes, the last do not
        store.put(items, given[items])
    assert torch.equal(store.rows(torch.arange(6)), given) and store.bytes == 4 * given.numel()


def test_other_shapes_than_pictures():
    store = PixelStore(3)
    store.put(torch.arange(3), torch.arange(6.0).view(3, 2))
    assert store.rows(torch.tensor([1])).tolist() == [[2.0, 3.0]]


@pytest.mark.parametrize("encoder", ["clip", "vlmo"])
def test_the_encoders_pictures_fit(encoder):
    made = VLMoTiny(TinySettings(seed=0)) if encoder == "vlmo" else CLIP(CLIPSettings(model="ViT-B-32", seed=0))
    values, store = made.preprocess_images([draw(seed, size=(90, 70)) for seed in range(5)]), PixelStore(5)
    store.put(torch.arange(5), values)
    assert torch.equal(store.rows(torch.arange(5)), values) and store.bytes == values.numel()

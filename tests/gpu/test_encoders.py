"""Encoders on a GPU: features, the gradient of an end-to-end window and of fine-tuning, resumes, bf16."""

import numpy as np
import pytest
import torch

from lmmrec_core.encoders.clip.settings import CLIPSettings
from lmmrec_core.encoders.clip.tiny import ClipTiny
from lmmrec_core.encoders.extract import extract
from lmmrec_core.encoders.fine_tuning import loop
from lmmrec_core.encoders.fine_tuning.gradients import Passes, itc_backward, itm_backward, mlm_backward
from lmmrec_core.encoders.fine_tuning.pairs import PairBatch, TrainingPairs
from lmmrec_core.encoders.fine_tuning.settings import FineTuneSettings
from lmmrec_core.encoders.pictures.byte_store import picture_bytes
from lmmrec_core.encoders.pictures.reading import read_picture
from lmmrec_core.encoders.vlmo.blocks import fused_attention, plain_attention
from lmmrec_core.encoders.vlmo.presets import VLMoTiny
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.roles import Batch
from lmmrec_core.seeds import true_fp32
from lmmrec_core.training.joint.e2 import Window
from lmmrec_core.training.loop import TrainingSettings, train
from tests.encoders.toys import catalogue_of, draw
from tests.recommenders.toys import split_for
from tests.training.joint.toy_encoders import (
    Captured,
    ToyEncoder,
    batches_of,
    build,
    data_of,
    error,
    flat,
    settings,
    whole_graph,
    windowed,
)

ITEMS = 45
WITH_FEATURES = sorted(name for name, member in RECOMMENDERS.items() if member.uses_features)
# Relative. An H200 gave 3.5e-6 for the gradients of itc, and 3.6e-4 with TF32 convolutions; features of ViT-B/16 and
# VLMo Base Plus differed by 2.2e-6 in fp32 and by 0.011 in bf16 (benchmarks/rehearsal.json).
TUNED = 2e-5  # of a gradient of fine-tuning in fp32
TOLERANCE = 1e-4  # of one through a recommender and a window
FEATURE = 1e-5  # of features in fp32
BF16 = 0.03  # of a feature row


class Moved(ToyEncoder):
    """Its inputs follow the module to the device."""

    def rows(self, items):
        inputs = self.inputs[items].to(next(self.module.parameters()).device)
        return {m: self.module.heads[m](tower(inputs)) for m, tower in self.module.towers.items()}


DATA = data_of(Moved(ITEMS), ITEMS)


def moved(batch, device):
    parts = [None if part is None else part.to(device) for part in (batch.user, batch.positive, batch.negative)]
    return Batch(*parts, batch.first_of_epoch)


@pytest.mark.parametrize("name", WITH_FEATURES)
def test_the_gradient_of_a_window_is_that_of_the_whole_graph_on_the_cpu(name, device):
    undrawn = {"dropout": 0.0} if name == "mmgcl" else {}
    batches = batches_of(DATA, 3, negatives=build(name, DATA).needs_negatives)
    expected = whole_graph(build(name, DATA, **undrawn), Moved(ITEMS), batches)
    model = build(name, DATA, **undrawn).to(device)
    window = windowed(model, Moved(ITEMS), [moved(batch, device) for batch in batches], updates_per_epoch=1, chunk=7)
    assert expected.norm() > 0 and error(window.gradients[0].cpu(), expected) < TOLERANCE


def test_draws_are_repeated(device):
    """Dropout of the pass with gradient is that of the pass that gave the values."""
    encoder, kept = Moved(ITEMS, dropout=0.4), []

    class Keeping(Captured):
        def start(self, model, seed):
            super().start(model, seed)
            plain = self.encoder.fill

            def fill(chunk, features):
                plain(chunk, features)
                if chunk.seed is not None:
                    with torch.enable_grad():
                        kept.append((chunk, self.encoder._rows(chunk)))

            self.encoder.fill = fill

    batches = [moved(batch, device) for batch in batches_of(DATA, 1)]
    window = windowed(
        build("vbpr", DATA).to(device), encoder, batches, kind=Keeping, updates_per_epoch=1, chunk=7, stochastic=True
    )
    encoder.module.zero_grad(set_to_none=True)
    for chunk, rows in kept:
        for modality, gradient in window.feature_gradients[0].items():
            torch.autograd.backward(rows[modality], gradient[chunk.items.to(gradient.device)])
    assert error(window.gradients[0], flat(window.trained.values())) < 1e-5


def trained(name, device, values, path=None, evaluations=0, stop=False):
    """All weights after five epochs; with ``stop`` the fourth is interrupted, which a window of two epochs spans."""
    done, model = evaluations, build(name, DATA)
    window = Window(Moved(ITEMS, dropout=0.3 if values.get("stochastic") else 0.0), settings(chunk=16, **values))

    def validate(scorer):
        nonlocal done
        done += 1
        if stop and done == 4:
            raise KeyboardInterrupt
        return float(done)

    training = TrainingSettings(epochs=5, batch_size=64, checkpoint_seconds=0, device=device)
    train(
        model, DATA, split_for(DATA), training, seed=1, validate=validate, checkpoint=path, progress=False,
        features=window,
    )  # fmt: skip
    return {**model.state_dict(), **window.weights()}


@pytest.mark.parametrize("name", ["vbpr", "lattice"])
@pytest.mark.parametrize("values", [{"updates_per_epoch": 1, "epochs_per_update": 2}, {"stochastic": True}])
def test_a_resumed_training_ends_with_the_same_bits(name, values, device, tmp_path):
    whole, path = trained(name, device, values), tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        trained(name, device, values, path, stop=True)
    resumed = trained(name, device, values, path, evaluations=3)
    assert resumed.keys() == whole.keys()
    for key, value in whole.items():
        assert torch.equal(resumed[key], value), key


def clip():
    return ClipTiny(CLIPSettings(model="clip-tiny-32", seed=1))


def vlmo():
    return VLMoTiny(VLMoTiny.Settings(seed=1))


def pairs(encoder, n=12):
    pixels = torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    tokens = encoder.preprocess_texts([f"word{i} other{i * i} third{i % 5} last" for i in range(n)])
    return PairBatch(pixels, tokens, torch.arange(n), torch.arange(n))


@pytest.mark.parametrize("objective", ["itc of clip", "itc", "itm", "mlm"])
def test_a_gradient_of_fine_tuning_is_that_of_the_cpu(objective, device):
    found = []
    for there in (device, "cpu"):
        encoder = clip() if objective == "itc of clip" else vlmo()
        batch, passes = pairs(encoder), Passes(there, "fp32", 5)
        encoder.module.to(there).eval()
        generator = torch.Generator().manual_seed(3)
        with true_fp32():  # as the loop has it
            if objective.startswith("itc"):
                itc_backward(encoder, batch, passes)
            elif objective == "itm":
                itm_backward(encoder, batch, torch.zeros(len(batch), len(batch)), 1.0, generator, passes)
            else:
                mlm_backward(encoder, batch, 1.0, generator, passes)
        found.append(flat(encoder.module.parameters()).cpu())
    assert found[1].norm() > 0 and error(*found) < TUNED


def tuned(make, device, path=None):
    encoder = make()
    batch = pairs(encoder, 40)
    held = np.arange(40) % 4 == 0
    kept = TrainingPairs(
        "made up", tuple(map(str, range(40))), batch.pixels.numpy(), batch.tokens, np.arange(40), np.arange(40), held,
        "all", {}, "made up",
    )  # fmt: skip
    chosen = FineTuneSettings.build(
        {"objectives": ["itc"] if make is clip else ["itc", "itm", "mlm"], "epochs": 4, "patience": 9, "batch_size": 10,
         "micro_batch": 4, "learning_rate": 1e-3, "keep_start": False, "checkpoint_seconds": 0, "device": device}
    )  # fmt: skip
    loop.fine_tune(encoder, kept, chosen, checkpoint=path, progress=False)
    return encoder.module.state_dict()


@pytest.mark.parametrize("make", [clip, vlmo])
def test_a_resumed_fine_tuning_ends_with_the_same_bits(make, device, tmp_path, monkeypatch):
    whole, stand = tuned(make, device), loop._Loop._stand

    def crash(self, number):
        if number == 3:
            raise RuntimeError("power cut")
        return stand(self, number)

    monkeypatch.setattr(loop._Loop, "_stand", crash)
    with pytest.raises(RuntimeError, match="power cut"):
        tuned(make, device, tmp_path / "tuning.pt")
    monkeypatch.setattr(loop._Loop, "_stand", stand)
    assert (tmp_path / "tuning.pt").is_file()
    resumed, start = tuned(make, device, tmp_path / "tuning.pt"), make().module.state_dict()
    assert any(not torch.equal(whole[key], value) for key, value in start.items())
    for key, value in whole.items():
        assert torch.equal(resumed[key], value), key


@pytest.mark.parametrize("make", [clip, vlmo])
def test_extracted_features_are_those_of_the_cpu(make, device, tmp_path):
    images = [tmp_path / f"{number}.png" for number in range(7)]
    for number, path in enumerate(images):
        draw(number).save(path)
    catalogue = catalogue_of([f"word{number} other" for number in range(7)], images)
    found, expected = (
        extract({"visual": encoder, "textual": encoder}, catalogue, batch_size=3, progress=False, device=there)
        for encoder, there in ((make(), device), (make(), "cpu"))
    )
    for modality, rows in expected.matrices.items():
        assert error(*map(torch.from_numpy, (found.matrices[modality], rows))) < FEATURE


@pytest.mark.parametrize("make", [clip, vlmo])
def test_features_in_bf16_are_near_those_in_fp32(make, device):
    encoder = make()
    batch = pairs(encoder, 64)
    encoder.module.to(device)
    with torch.no_grad():
        pixels, tokens = batch.take(torch.arange(64), torch.arange(64), device)
        exact = [encoder.image_vectors(pixels), encoder.text_vectors(tokens)]
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            lower = [encoder.image_vectors(pixels).float(), encoder.text_vectors(tokens).float()]
    for rows, other in zip(exact, lower, strict=True):
        differences = ((rows - other).norm(dim=1) / rows.norm(dim=1)).cpu().numpy()
        assert 0 < differences.max() < BF16, np.sort(differences)[-3:]


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("make", [clip, vlmo])
def test_pictures_that_travel_as_bytes_are_the_same_pixels(make, settled, device, tmp_path):
    encoder, images = make(), [tmp_path / f"{number}.png" for number in range(7)]
    for number, path in enumerate(images):
        draw(number).save(path)
    pictures = [read_picture(path, path.name) for path in images]
    store = picture_bytes(encoder.picture_rule, catalogue_of([""] * 7, images), progress=False)
    there = store.settle(torch.device(device), free=10**9) if settled else None
    assert (there is not None) == settled
    pixels = store.pixels(np.arange(7), torch.device(device))
    assert pixels.device.type == device
    assert error(pixels.cpu(), encoder.preprocess_images(pictures)) < 1e-7


@pytest.mark.parametrize(("kind", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("masked", [True, False])
def test_fused_attention_is_the_plain_form_on_the_cpu(masked, kind, close, device):
    """At the size of a picture in VLMo Base Plus; gradients too."""
    parts = torch.randn(3, 2, 16, 197, 34, generator=torch.Generator().manual_seed(1))
    real = torch.arange(197) < torch.tensor([[197], [130]]) if masked else None
    found = []
    for form, where, precision in ((fused_attention, device, kind), (plain_attention, "cpu", torch.float32)):
        own = parts.detach().to(where, precision).requires_grad_()
        out = form(*own.unbind(), None if real is None else real.to(where), 34**-0.5)
        out.float().square().sum().backward()
        found.append((out.detach().float().cpu(), own.grad.float().cpu()))
    for fused, plain in zip(*found, strict=True):
        assert error(fused, plain) < close

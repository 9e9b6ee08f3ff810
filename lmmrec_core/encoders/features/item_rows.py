"""Feature rows of a catalogue's items as a function of an encoder's weights, for training end to end.

Pictures and texts are read and preprocessed once, and shared by all runs. So is what a frozen part of the encoder
makes of them, which is computed once per encoder.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Int
from PIL.Image import Image
from torch import Tensor
from tqdm import tqdm

from lmmrec_core.encoders.pictures.byte_store import PictureBytes, picture_bytes
from lmmrec_core.encoders.pictures.pixel_store import PixelStore
from lmmrec_core.encoders.pictures.reading import pixels_of, read_picture
from lmmrec_core.encoders.pictures.rule import picture_rule
from lmmrec_core.encoders.weights import state_digest
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import Catalogue, Features, IntArray, Modality
from lmmrec_core.process import free_memory
from lmmrec_core.roles import CutEncoder, Encoder, TrainableEncoder

_CHUNK = 32  # items preprocessed, or passed through the frozen part, at a time


@dataclass(frozen=True, eq=False)
class ItemContent:
    """Preprocessed pictures and texts of all items; an item without content has zeros or an empty text."""

    pixels: PixelStore | PictureBytes | None
    tokens: Mapping[str, Tensor] | None  # [item, length]
    present: Mapping[Modality, Tensor]  # bool [item]
    frozen: dict[tuple[str, str, Modality], dict[str, Tensor]] = field(default_factory=dict)
    order: Mapping[Modality, Tensor] = field(default_factory=dict)  # int64 [item]: whose content each item has

    def moved(self, orders: Mapping[Modality, IntArray]) -> "ItemContent":
        """The same with the content of other items: item i has that of item ``orders[modality][i]``."""
        order = {modality: torch.from_numpy(np.array(places)) for modality, places in orders.items()}
        present = {**self.present, **{m: self.present[m][places] for m, places in order.items()}}
        return replace(self, present=present, frozen={}, order=order)

    def place(self, modality: Modality, items: Tensor) -> Tensor:
        """The items whose content the given ones have."""
        return self.order[modality][items.cpu()] if modality in self.order else items.cpu()

    def inputs(self, modality: Modality, items: Tensor, device: torch.device) -> Tensor | dict[str, Tensor]:
        """What an encoder takes for these items; columns that are padding for all of them are cut off."""
        if modality == "visual":
            assert self.pixels is not None
            places = self.place(modality, items)
            if isinstance(self.pixels, PictureBytes):
                return self._standardised(self.pixels, places, device)
            return self.pixels.rows(places).to(device)
        assert self.tokens is not None
        tokens = {name: value[self.place(modality, items)] for name, value in self.tokens.items()}
        mask = tokens.get("attention_mask")
        if mask is not None:
            length = max(1, int(mask.bool().any(dim=0).nonzero().max()) + 1)
            tokens = {name: value[:, :length] for name, value in tokens.items()}
        return {name: value.to(device) for name, value in tokens.items()}

    def settle(self, device: torch.device) -> object:
        """Pictures stay on a GPU, if they fit, as long as what is returned is kept (``PictureBytes.settle``)."""
        return self.pixels.settle(device) if isinstance(self.pixels, PictureBytes) else None

    @staticmethod
    def _standardised(pictures: PictureBytes, places: Tensor, device: torch.device) -> Tensor:
        """Pixels; zeros for items that have no picture."""
        there = torch.from_numpy(pictures.place[places.numpy()] >= 0)
        if bool(there.all()):
            return pictures.pixels(places.numpy(), device).contiguous()
        size = pictures.rule.size
        pixels = torch.zeros(len(places), 3, size, size, device=device)
        pixels[there.to(device)] = pictures.pixels(places[there].numpy(), device)
        return pixels


def item_content(
    encoder: Encoder,
    catalogue: Catalogue,
    features: Features,
    progress: bool = True,
    pictures: PictureBytes | None = None,
) -> ItemContent:
    """Read what ``features`` were made of; the same items count as present.

    ``pictures``: those of the catalogue by the encoder's rule, if they were decoded already.

    Raises FeatureError for a picture that cannot be read.
    """
    present = {modality: torch.from_numpy(np.array(flags)) for modality, flags in features.present.items()}
    pixels: PixelStore | PictureBytes | None = None
    tokens: dict[str, Tensor] | None = None
    if "visual" in features.matrices:
        pixels = _read_pixels(encoder, catalogue, present["visual"], progress, pictures)
    if "textual" in features.matrices:
        tokens = dict(encoder.preprocess_texts(list(catalogue.texts)))
    return ItemContent(pixels, tokens, present)


def _read_pixels(
    encoder: Encoder, catalogue: Catalogue, present: Tensor, progress: bool, pictures: PictureBytes | None
) -> PixelStore | PictureBytes:
    todo = present.nonzero().flatten().tolist()
    if not todo:
        raise FeatureError(f"{catalogue.name}: no item has a picture; train with texts alone")
    if (rule := picture_rule(encoder)) is not None:
        found = pictures or picture_bytes(rule, catalogue, todo, progress=progress)
        for fault in filter(None, map(found.fault, todo)):
            raise FeatureError(fault)
        return found
    kept = PixelStore(catalogue.n_items)
    bar = tqdm(total=len(todo), desc=f"{catalogue.name}: pictures for {encoder.name}", disable=not progress)
    with bar:
        for start in range(0, len(todo), _CHUNK):
            items = todo[start : start + _CHUNK]
            kept.put(torch.tensor(items), pixels_of(encoder.preprocess_images, _pictures_of(items, catalogue)))
            bar.update(len(items))
    return kept


def _pictures_of(items: list[int], catalogue: Catalogue) -> Iterator[Image]:
    for i in items:
        path = catalogue.images[i]
        if path is None:
            raise FeatureError(f"item {catalogue.item_ids[i]!r} has no picture; extract its features again")
        yield read_picture(path, catalogue.item_ids[i])


class CatalogueRows:
    """An encoder on one catalogue: a ``roles.ItemEncoder``, and a ``SplitEncoder`` if the encoder can be cut.

    Rows of items without content are those of ``features``, filled by the missing rule; they get no gradient.
    """

    def __init__(self, encoder: TrainableEncoder, content: ItemContent, features: Features) -> None:
        self.encoder, self.content, self.module = encoder, content, encoder.module
        self.given = {m: torch.from_numpy(np.array(matrix)) for m, matrix in features.matrices.items()}
        self._settled: tuple[torch.device, object] | None = None  # holds the pictures on a GPU
        self._start = state_digest(encoder.module)  # tells the weights that kept states were made with

    def rows(self, items: Int[Tensor, "chunk"]) -> Mapping[Modality, Tensor]:
        """Item numbers → float32 [chunk, dim] per modality."""
        device = next(self.module.parameters()).device
        if self._settled is None or self._settled[0] != device:
            self._settled = device, self.content.settle(device)
        rows: dict[Modality, Tensor] = {}
        for modality in self.given:
            inputs = self.content.inputs(modality, items, device)
            vectors = (
                self.encoder.image_vectors(inputs) if isinstance(inputs, Tensor) else self.encoder.text_vectors(inputs)
            )
            rows[modality] = self._filled(modality, vectors, items)
        return rows

    def part(self, name: str) -> frozenset[str]:
        """As ``roles.TrainableEncoder.part``."""
        return self.encoder.part(name)

    def boundary(self, items: Int[Tensor, "chunk"], part: str) -> Mapping[str, Tensor]:
        """What enters ``part``, per modality; computed for the whole catalogue by the first call.

        Raises ConfigError if the encoder cannot be cut there.
        """
        states: dict[str, Tensor] = {"item": items}
        for modality in self.given:
            for name, state in self._frozen(modality, part).items():
                states[f"{modality}.{name}"] = state[items]
        return states

    def rows_from(self, states: Mapping[str, Tensor], part: str) -> Mapping[Modality, Tensor]:
        """The rest of the way, from those states to rows; gradients flow into ``part``."""
        encoder = cast(CutEncoder, self.encoder)  # boundary() has checked it
        rows: dict[Modality, Tensor] = {}
        for modality in self.given:
            own = {k.removeprefix(f"{modality}."): v for k, v in states.items() if k.startswith(f"{modality}.")}
            rows[modality] = self._filled(modality, encoder.above(modality, own, part), states["item"])
        return rows

    def _filled(self, modality: Modality, vectors: Tensor, items: Tensor) -> Tensor:
        items = items.cpu()
        present = self.content.present[modality][items]
        if bool(present.all()):
            return vectors
        given = self.given[modality][items].to(vectors)
        return torch.where(present.to(vectors.device)[:, None], vectors, given)

    def _frozen(self, modality: Modality, part: str) -> dict[str, Tensor]:
        if not isinstance(self.encoder, CutEncoder):
            raise ConfigError(f"encoder {self.encoder.name!r} cannot be cut below {part!r}; set boundary: encode")
        key = (self._start, part, modality)
        if key not in self.content.frozen:
            device = next(self.module.parameters()).device
            made: dict[str, Tensor] = {}
            count = len(self.given[modality])
            for items in torch.arange(count).split(_CHUNK):
                states = self.encoder.below(modality, self._whole(modality, items, device), part)
                made = made or _room_for(states, count, f"{modality} states below part {part!r}")
                for name, state in states.items():
                    made[name][items] = state.cpu()
            self.content.frozen[key] = made
        return self.content.frozen[key]

    def _whole(self, modality: Modality, items: Tensor, device: torch.device) -> Tensor | dict[str, Tensor]:
        """Inputs with all their padding, since kept states need one length."""
        if modality == "visual":
            return self.content.inputs(modality, items, device)
        assert self.content.tokens is not None
        items = self.content.place(modality, items)
        return {name: value[items].to(device) for name, value in self.content.tokens.items()}


def _room_for(states: Mapping[str, Tensor], count: int, what: str) -> dict[str, Tensor]:
    """Tensors like ``states`` for ``count`` items. Raises FeatureError if memory does not suffice for them."""
    needed = count * sum(state[0].numel() * state.element_size() for state in states.values())
    if needed > (free := free_memory()):
        raise FeatureError(
            f"{what} take {needed / 2**30:.1f} GiB for {count} items, and {free / 2**30:.1f} GiB are free; set "
            "end_to_end.boundary: encode, or use a larger machine"
        )
    return {name: torch.empty(count, *state.shape[1:], dtype=state.dtype) for name, state in states.items()}

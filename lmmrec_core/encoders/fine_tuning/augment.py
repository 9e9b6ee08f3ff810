"""Changes of training pictures: none, or a random crop brought back to size."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

CROP_AREA = 0.9  # the smallest share of the area that is kept, as in CLIP's training


def random_crop(
    pixels: Float[Tensor, "pair channel height width"], generator: torch.Generator, area: float = CROP_AREA
) -> Float[Tensor, "pair channel height width"]:
    """From each picture a random window of its own shape, resized to its full size (bicubic, antialiased).

    A window covers a share of ``area`` to 1 of the picture. Pictures are not mirrored: posters and packages carry
    lettering.
    """
    height, width = pixels.shape[-2:]
    draws = torch.rand(len(pixels), 3, generator=generator)
    cropped = []
    for picture, (share, down, right) in zip(pixels, draws.tolist(), strict=True):
        side = (area + (1 - area) * share) ** 0.5
        tall, wide = max(1, round(side * height)), max(1, round(side * width))
        top, left = round(down * (height - tall)), round(right * (width - wide))
        window = picture[None, :, top : top + tall, left : left + wide]
        cropped.append(functional.interpolate(window, (height, width), mode="bicubic", antialias=True))
    return torch.cat(cropped)

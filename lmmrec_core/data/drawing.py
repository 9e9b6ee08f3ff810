"""Pictures of the controls: vessels that show four factors, and nothing else that matters.

A factor is a number in [0, 1] that moves one visible attribute in one direction: close values look alike, and 0 and 1
look most different (hue stops before it would wrap). Everything else that varies (place, tilt, scale, light,
background, handles, grain) is drawn independently of the factors.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from lmmrec_core.flow import FloatArray

VISUAL_FACTORS = ("hue", "height", "neck", "stripes")
_SIDE = 64  # pixels
_FINE = 2  # pictures are drawn at twice the size and averaged, which smooths edges
_CHUNK = 8  # pictures drawn at once: as many as fit a processor's cache

# hue in turns: red at 0, violet at 1; the gap up to 1.0 keeps the ends apart
_HUE = (0.0, 0.75)
_HEIGHT = (0.75, 1.45)  # of a canvas of height 2
_BELLY = (0.62, 0.34)  # half width; squat vessels are wide, so height is not mere size
_NECK = (0.22, 0.95)  # of the belly
_STRIPE_PERIOD = (0.62, 0.15)  # canvas units, interpolated on a log scale


def draw(factors: FloatArray, stream: np.random.Generator) -> np.ndarray:
    """Pictures for ``factors`` [item, 4] in [0, 1] (columns :data:`VISUAL_FACTORS`).

    Returns uint8 [item, 64, 64, 3], RGB. The nuisance variation comes from ``stream``.
    """
    count = len(factors)
    nuisance = stream.uniform(size=(count, 12))
    pictures = np.empty((count, _SIDE, _SIDE, 3), dtype=np.uint8)
    for start in range(0, count, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        fine = _paint(factors[chunk], nuisance[chunk])
        coarse = fine.reshape(len(fine), _SIDE, _FINE, _SIDE, _FINE, 3).mean(axis=(2, 4))
        grain = stream.normal(0.0, 0.02, size=coarse.shape)
        pictures[chunk] = np.clip(np.rint((coarse + grain) * 255), 0, 255).astype(np.uint8)
    return pictures


def write_png(picture: np.ndarray, path: Path) -> None:
    """Save one uint8 [64, 64, 3] picture; with the same zlib, equal pictures become equal bytes."""
    Image.fromarray(picture).save(path, format="PNG", compress_level=6)


def _paint(factors: FloatArray, nuisance: FloatArray) -> FloatArray:
    """Float pictures [item, fine, fine, 3] in [0, 1], before averaging and grain."""
    hue, height, neck, stripes = (column[:, None, None] for column in factors.T)
    shift_x, shift_y, tilt, scale, light, saturation, value, back_hue, back_depth, handles, phase, floor = (
        column[:, None, None] for column in nuisance.T
    )
    edge = (np.arange(_SIDE * _FINE) + 0.5) / (_SIDE * _FINE) * 2 - 1
    page_x, page_y = np.meshgrid(edge, -edge)

    # page → vessel coordinates: shift, tilt by up to 8 degrees, scale by up to 8 percent
    angle = np.deg2rad(16 * (tilt - 0.5))
    x, y = page_x - 0.24 * (shift_x - 0.5), page_y - 0.16 * (shift_y - 0.5)
    size = 1 + 0.16 * (scale - 0.5)
    x, y = (np.cos(angle) * x + np.sin(angle) * y) / size, (np.cos(angle) * y - np.sin(angle) * x) / size

    tall, belly = _between(_HEIGHT, height), _between(_BELLY, height)
    along = (y + tall / 2) / tall  # 0 at the foot, 1 at the rim
    half = belly * _profile(along, _between(_NECK, neck))
    body = (np.abs(x) < half) & (along > 0) & (along < 1)

    # two rings at the sides of the belly, on half of the vessels
    ring = np.hypot((np.abs(x) - belly * 0.98) / 0.16, (y - 0.05 * tall) / 0.2)
    handle = (handles > 0.5) & (ring < 1) & (ring > 0.6) & ~body

    background = _hsv(back_hue, 0.04 + 0.12 * back_depth, 0.97 - 0.1 * back_depth)
    horizon = -0.35 - 0.25 * floor
    background = background * np.where(page_y < horizon, 0.93, 1.0)[..., None]
    shadow = np.hypot(x / (belly * 1.15), (y + tall / 2) / 0.09) < 1
    background = background * np.where(shadow, 0.75, 1.0)[..., None]

    glaze = _hsv(_between(_HUE, hue), 0.6 + 0.25 * saturation, 0.72 + 0.2 * value)
    period = np.exp(_between((np.log(_STRIPE_PERIOD[0]), np.log(_STRIPE_PERIOD[1])), stripes))
    band = np.sin(2 * np.pi * (y / period + phase)) > 0.35
    cream = np.array([0.98, 0.95, 0.88])
    painted = np.where((band & body)[..., None], 0.2 * glaze + 0.8 * cream, glaze)
    side = np.clip(x / np.maximum(half, 1e-6), -1, 1)
    shade = 1 - 0.24 * (side - 0.5 * np.where(light > 0.5, 1, -1)) ** 2
    return np.where((body | handle)[..., None], painted * np.where(body, shade, 0.8)[..., None], background)


def _profile(along: FloatArray, neck: FloatArray) -> FloatArray:
    """Half width along a vessel, relative to its belly: foot 0.6, belly 1 at 0.4, neck at 0.85, flared rim."""
    stops: tuple[tuple[float, float | FloatArray], ...] = (
        (0.0, 0.6),
        (0.4, 1.0),
        (0.85, neck),
        (1.0, np.minimum(neck * 1.2, 1.0)),
    )
    width = np.zeros(np.broadcast_shapes(along.shape, neck.shape))
    for (left, low), (right, high) in pairwise(stops):
        ease = (1 - np.cos(np.pi * np.clip((along - left) / (right - left), 0, 1))) / 2
        width = np.where((along >= left) & (along <= right), low + (high - low) * ease, width)
    return width


def _between(ends: tuple[float, float], position: FloatArray) -> FloatArray:
    return ends[0] + (ends[1] - ends[0]) * position


def _hsv(hue: FloatArray, saturation: FloatArray, value: FloatArray) -> FloatArray:
    """HSV in [0, 1] → RGB in a last axis of 3 (the textbook hexcone)."""
    channels = []
    for offset in (5, 3, 1):
        k = (offset + hue * 6) % 6
        channels.append(value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1))
    return np.stack(np.broadcast_arrays(*channels), axis=-1)

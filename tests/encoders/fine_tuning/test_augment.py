import torch

from lmmrec_core.encoders.fine_tuning.augment import random_crop


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramps(n: int) -> torch.Tensor:
    """Channel 0 rises from left to right (0 to 1), channel 1 from top to bottom, channel 2 is flat."""
    ramp = torch.linspace(0, 1, 40).expand(40, 40)
    return torch.stack([ramp, ramp.T, torch.full((40, 40), 0.5)]).expand(n, 3, 40, 40).clone()


def test_a_window_of_the_stated_area_comes_back_at_full_size():
    pixels = ramps(300)
    cropped = random_crop(pixels, generator(), area=0.5)
    assert cropped.shape == pixels.shape
    torch.testing.assert_close(cropped[:, 2], pixels[:, 2], atol=1e-5, rtol=0)
    width = cropped[:, 0].amax(dim=(1, 2)) - cropped[:, 0].amin(dim=(1, 2))  # share of the side, near enough
    height = cropped[:, 1].amax(dim=(1, 2)) - cropped[:, 1].amin(dim=(1, 2))
    torch.testing.assert_close(width, height, atol=0.02, rtol=0)  # the shape is kept
    area = width * height
    assert 0.44 < area.min() < 0.56 and 0.94 < area.max() <= 1.03
    left = cropped[:, 0].amin(dim=(1, 2))
    assert left.min() < 0.02 and left.max() > 0.2  # windows lie everywhere
    assert (cropped[:, 0, :, -1] > cropped[:, 0, :, 0]).all()  # and are never mirrored


def test_the_whole_picture_is_left_as_it_is():
    pixels = torch.randn(5, 3, 12, 9, generator=generator())
    torch.testing.assert_close(random_crop(pixels, generator(), area=1.0), pixels, atol=1e-5, rtol=0)


def test_crops_are_a_function_of_the_generator():
    pixels = ramps(4)
    assert torch.equal(random_crop(pixels, generator(1)), random_crop(pixels, generator(1)))
    assert not torch.equal(random_crop(pixels, generator(1)), random_crop(pixels, generator(2)))

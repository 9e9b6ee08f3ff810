import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image, ImageFile

from lmmrec_core import picture_files
from lmmrec_core.encoders.pictures import reading
from lmmrec_core.encoders.pictures.reading import pixels_of, read_picture, to_pixels, to_rgb
from lmmrec_core.encoders.pictures.rule import HALF
from lmmrec_core.errors import FeatureError
from tests.encoders.toys import draw


def colour(picture, at=(0, 0)):
    return picture.getpixel(at)


def test_plain_pictures_come_back_pixel_by_pixel(tmp_path):
    draw(1).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png", "a")
    assert picture.mode == "RGB"
    assert np.array_equal(np.asarray(picture), np.asarray(draw(1)))


def test_exif_orientation_is_applied(tmp_path):
    upright = Image.new("RGB", (40, 20), "blue")
    upright.paste("red", (0, 0, 20, 20))  # red left, blue right
    exif = Image.Exif()
    exif[274] = 6  # "turn by 90° clockwise to show"
    upright.save(tmp_path / "turned.jpg", exif=exif, quality=95, subsampling=0)
    picture = read_picture(tmp_path / "turned.jpg", "a")
    assert picture.size == (20, 40)
    assert colour(picture, (10, 5))[0] > 200 > 60 > colour(picture, (10, 35))[0]  # red above


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 128, (128, 128, 128)),
        ("1", 1, (255, 255, 255)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),  # wholly transparent: white
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),  # a fifth of black over white
        ("LA", (0, 0), (255, 255, 255)),
        ("RGB", (1, 2, 3), (1, 2, 3)),
    ],
)
def test_colour_modes(tmp_path, mode, value, expected):
    Image.new(mode, (4, 4), value).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png", "a")
    assert picture.mode == "RGB"
    assert colour(picture) == expected


def test_cmyk_palette_and_sixteen_bits(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=95)
    red = colour(read_picture(tmp_path / "c.jpg", "c"))
    assert red[0] > 240 and max(red[1:]) < 15
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 200, 210, 220])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.png", transparency=1)
    picture = read_picture(tmp_path / "p.png", "p")
    assert colour(picture) == (10, 20, 30) and colour(picture, (1, 0)) == (255, 255, 255)
    Image.fromarray(np.full((4, 4), 0x8040, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert colour(read_picture(tmp_path / "deep.png", "d")) == (0x80, 0x80, 0x80)
    animated = [Image.new("RGB", (4, 4), "white"), Image.new("RGB", (4, 4), "black")]
    animated[0].save(tmp_path / "a.gif", save_all=True, append_images=animated[1:])
    assert colour(read_picture(tmp_path / "a.gif", "g")) == (255, 255, 255)


def test_colour_with_a_transparent_key(tmp_path):
    picture = Image.new("RGB", (4, 4), (9, 8, 7))
    picture.putpixel((1, 1), (1, 1, 1))
    picture.save(tmp_path / "a.png", transparency=(9, 8, 7))
    read = read_picture(tmp_path / "a.png", "a")
    assert colour(read) == (255, 255, 255) and colour(read, (1, 1)) == (1, 1, 1)


def test_broken_files_name_item_file_and_cure(tmp_path):
    draw(2, (200, 200)).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "page.jpg").write_text("<html>404 not found</html>")
    draw(2).save(tmp_path / "whole.png")
    flipped = bytearray((tmp_path / "whole.png").read_bytes())
    flipped[len(flipped) // 2] ^= 0xFF
    (tmp_path / "flipped.png").write_bytes(bytes(flipped))
    (tmp_path / "folder.jpg").mkdir()
    for name in ("cut.jpg", "empty.jpg", "page.jpg", "flipped.png", "folder.jpg", "absent.jpg"):
        with pytest.raises(FeatureError) as caught:
            read_picture(tmp_path / name, "B00X")
        cure = "fetch the file again" if name == "page.jpg" else "replace the file"
        for part in ("'B00X'", name, cure, "out of the catalogue"):
            assert part in str(caught.value), name


def test_half_pictures_are_refused_whatever_another_library_allows(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    draw(2, (200, 200)).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FeatureError, match="cannot be read"):
        read_picture(tmp_path / "cut.jpg", "a")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True  # put back as it was


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])  # above our limit, above Pillow's warning, above its error
def test_decompression_bombs_are_refused_before_decoding(tmp_path, side, recwarn):
    (tmp_path / "bomb.png").write_bytes(png_claiming(side, side))
    with pytest.raises(FeatureError, match=r"item 'b': picture .*bomb\.png"):
        read_picture(tmp_path / "bomb.png", "b")
    assert not recwarn.list


def test_the_size_limit_is_a_number_of_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_files, "MAX_PIXELS", 100)
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    Image.new("RGB", (10, 11)).save(tmp_path / "b.png")
    read_picture(tmp_path / "a.png", "a")
    with pytest.raises(FeatureError, match="10 × 11 pixels, more than 100"):
        read_picture(tmp_path / "b.png", "b")


def test_a_line_of_pixels_is_refused_before_it_is_enlarged(tmp_path):
    Image.new("RGB", (500, 1)).save(tmp_path / "a.png")
    Image.new("RGB", (2, 1001)).save(tmp_path / "b.png")
    read_picture(tmp_path / "a.png", "a")
    with pytest.raises(FeatureError, match=r"2 × 1001 pixels, one side more than 500 times the other.; cut it"):
        read_picture(tmp_path / "b.png", "b")


def saved_grey(values, path):
    Image.fromarray(np.asarray(values)).save(path)
    return path


def test_sixteen_bits_are_scaled_alike_however_dark_the_picture(tmp_path):
    for brightest in (199, 255, 256, 65535):  # the smallest step of an 8-bit value is 256
        picture = read_picture(saved_grey(np.array([[0, brightest]], dtype=np.uint16), tmp_path / "g.png"), "g")
        assert np.asarray(picture)[0, :, 0].tolist() == [0, brightest // 256]
    (tmp_path / "g.pgm").write_bytes(b"P5 2 1 65535\n" + bytes([0x00, 0xC8, 0x80, 0x40]))  # two bytes a value
    assert np.asarray(read_picture(tmp_path / "g.pgm", "g"))[0, :, 0].tolist() == [0, 0x80]


def test_floating_point_grey_is_a_share_of_white(tmp_path):
    picture = read_picture(saved_grey(np.array([[0, 0.2, 0.5, 1]], dtype=np.float32), tmp_path / "f.tif"), "f")
    assert np.asarray(picture)[0, :, 0].tolist() == [0, 51, 128, 255]
    for value in (1.01, -0.01, np.nan, np.inf, 255.0):
        path = saved_grey(np.array([[0, value]], dtype=np.float32), tmp_path / "f.tif")
        with pytest.raises(FeatureError, match=r"item 'f'.*not between 0 and 1.*save it with 8 or 16 bits"):
            read_picture(path, "f")


def test_grey_of_32_bits_has_no_known_scale_and_is_refused(tmp_path):
    path = saved_grey(np.array([[0, 255], [7, 9]], dtype=np.int32), tmp_path / "i.tif")
    with pytest.raises(FeatureError, match=r"item 'i'.*full scale is not known.*save it with 8 or 16 bits"):
        read_picture(path, "i")


def test_large_pictures_are_converted_as_small_ones(tmp_path):
    """Conversion in strips gives what Pillow gives for the whole."""
    rng = np.random.default_rng(0)
    solid = Image.fromarray(rng.integers(0, 256, (600, 3, 4), dtype=np.uint8), "RGBA")
    white = Image.new("RGBA", solid.size, (255, 255, 255, 255))
    assert np.array_equal(np.asarray(to_rgb(solid)), np.asarray(Image.alpha_composite(white, solid).convert("RGB")))
    deep = rng.integers(0, 65536, (600, 3), dtype=np.uint16)
    assert np.array_equal(np.asarray(to_rgb(Image.fromarray(deep)))[:, :, 1], deep // 256)


def test_postscript_never_reaches_ghostscript(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was called"))
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "a.png").write_bytes(page)  # the name says nothing
    with pytest.raises(FeatureError, match=r"none of the formats AVIF, .*WEBP"):
        read_picture(tmp_path / "a.png", "a")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "a pointer of Git LFS, .*git lfs pull"),
        ("<!DOCTYPE html><title>404</title>", "a page of HTML, .*fetch the file again"),
    ],
)
def test_a_text_in_the_place_of_a_picture_is_told_with_its_cure(tmp_path, text, told):
    (tmp_path / "a.jpg").write_text(text)
    with pytest.raises(FeatureError, match=told):
        read_picture(tmp_path / "a.jpg", "a")


@pytest.mark.parametrize("name", ["a.ico", "a.pcx", "a.im", "a.tga", "a.dds", "a.icns", "a.sgi"])
def test_formats_that_no_shop_uses_are_refused(tmp_path, name):
    Image.new("RGB", (16, 16), "red").save(tmp_path / name)
    with pytest.raises(FeatureError, match="none of the formats"):
        read_picture(tmp_path / name, "a")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.webp", "a.bmp", "a.tif", "a.ppm", "a.jp2", "a.avif"])
def test_formats_that_are_read(tmp_path, name):
    Image.new("RGB", (16, 16), "red").save(tmp_path / name)
    red, green, blue = colour(read_picture(tmp_path / name, "a"))
    assert red > 240 and max(green, blue) < 15


def test_pixels_do_not_depend_on_how_many_pictures_are_held(monkeypatch):
    pictures = [draw(seed, (20 + seed, 30)) for seed in range(5)]
    held = []

    def preprocess(group):
        held.append(len(group))
        return to_pixels(group, 8, mean=HALF, std=HALF)

    monkeypatch.setattr(reading, "HELD_PIXELS", 20 * 30 + 1)
    assert torch.equal(pixels_of(preprocess, iter(pictures)), to_pixels(pictures, 8, mean=HALF, std=HALF))
    assert held == [2, 1, 1, 1]


@pytest.mark.shared
def test_the_defects_of_the_amazon_samples(shared_data):
    images = shared_data / "amazon-format-samples" / "images"
    for item in ("B0TOY00004", "B0TOY00016", "B0TOY00001", "0001234567"):  # grey, CMYK, plain, plain
        picture = read_picture(images / f"{item}.jpg", item)
        assert picture.mode == "RGB" and min(picture.size) >= 40
    with Image.open(images / "B0TOY00016.jpg") as stored:
        assert stored.mode == "CMYK"
    for item in ("B0TOY00007", "B0TOY00013"):  # truncated, absent
        with pytest.raises(FeatureError, match=item):
            read_picture(images / f"{item}.jpg", item)


@pytest.mark.shared
def test_the_odd_pictures(shared_data):
    odd = shared_data / "odd-catalogues" / "pictures"
    assert np.asarray(read_picture(odd / "g16dark.png", "g")).max() == 0
    assert np.asarray(read_picture(odd / "f32.tif", "f")).max() == 254
    for name, told in (("i32.tif", "full scale"), ("bomb70.png", "more than 64,000,000")):
        with pytest.raises(FeatureError, match=told):
            read_picture(odd / name, "x")

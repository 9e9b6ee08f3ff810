import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from lmmrec_core.encoders.pictures import reading as pictures
from lmmrec_core.encoders.pictures.reading import read_picture, to_rgb
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
        for part in ("'B00X'", name, "replace the file", "out of the catalogue"):
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
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100)
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    Image.new("RGB", (10, 11)).save(tmp_path / "b.png")
    read_picture(tmp_path / "a.png", "a")
    with pytest.raises(FeatureError, match="10 × 11 pixels, more than 100"):
        read_picture(tmp_path / "b.png", "b")


def test_grey_of_32_bits():
    grey = Image.fromarray(np.array([[0, 255], [7, 9]], dtype=np.int32))
    assert np.asarray(to_rgb(grey))[:, :, 0].tolist() == [[0, 255], [7, 9]]


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

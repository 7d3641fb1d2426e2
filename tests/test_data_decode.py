"""Decoding: every kind of image a folder may hold becomes RGB uint8, and a bad one is named."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from rasterio.io import MemoryFile

from rsprune_lib.data.decode import decode, image_sides, resize
from rsprune_lib.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
RAMP = np.linspace(0, 255, 16 * 16).reshape(16, 16)
RGB = np.stack([RAMP, RAMP.T, 255 - RAMP], 2).astype(np.uint8)


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def geotiff(bands, **profile):
    """bands: (C, H, W)."""
    shape = {"count": bands.shape[0], "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", **shape, **profile) as raster:
            raster.write(bands)
        return memory.read()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP"])
def test_rgb_is_kept(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    got = decode(encode(Image.fromarray(RGB), kind, **options), "a")
    assert got.dtype == np.uint8 and got.shape == (16, 16, 3)
    assert kind == "GIF" or (got == RGB).all()


def test_jpeg_grey_and_cmyk():
    assert np.abs(decode(encode(Image.fromarray(RGB), "JPEG", quality=95), "a").astype(int) - RGB).mean() < 6
    grey = decode(encode(Image.fromarray(RGB[..., 0])), "a")
    assert (grey == RGB[..., :1]).all()
    assert decode(encode(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG"), "a")[0, 0, 0] > 200
    assert (decode(encode(Image.new("1", (4, 4), 1)), "a") == 255).all()


def test_transparent_pixels_are_black():
    alpha = np.full((16, 16, 1), 255, np.uint8)
    alpha[:8] = 0
    got = decode(encode(Image.fromarray(np.concatenate([RGB, alpha], 2))), "a")
    assert (got[:8] == 0).all() and (got[8:] == RGB[8:]).all()


def test_sixteen_bits_are_stretched_not_cut_off():
    deep = (1000 + RAMP * 4).astype(np.uint16)  # a sensor that uses a small part of the range
    for content in (encode(Image.fromarray(deep)), encode(Image.fromarray(deep), "TIFF"), geotiff(deep[None])):
        got = decode(content, "a")
        assert got.min() == 0 and got.max() == 255
        assert np.abs(got[..., 0].astype(int) - RAMP).max() < 6


def test_sixteen_bit_rgb_png():
    raw = (
        (RGB.astype(np.uint16) * 8).astype(">u2").reshape(16, -1)
    )  # 11 of 16 bits: Pillow alone would return almost black
    rows = b"".join(b"\0" + row.tobytes() for row in raw)
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0), b"IDAT" + zlib.compress(rows), b"IEND")
    png = b"\x89PNG\r\n\x1a\n"
    png += b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    assert np.abs(decode(png, "a").astype(int) - RGB).max() < 6


def test_geotiff_with_many_bands_takes_the_first_three():
    bands = np.concatenate([RGB.transpose(2, 0, 1), np.full((10, 16, 16), 7, np.uint8)])
    assert (decode(geotiff(bands, photometric="MINISBLACK"), "a") == RGB).all()
    tiled = np.tile(bands[:4], (1, 4, 4))
    assert (
        decode(geotiff(tiled, tiled=True, blockxsize=32, blockysize=32, compress="deflate"), "a")[:16, :16] == RGB
    ).all()
    assert decode(geotiff(bands[:2]), "a").shape == (16, 16, 3)


def test_float_tiff_with_gaps():
    bands = RGB.transpose(2, 0, 1).astype(np.float32) / 100
    bands[:, 0, 0] = -9999
    bands[:, 1, 1] = np.nan
    got = decode(geotiff(bands, nodata=-9999.0), "a")
    assert (got[0, 0] == 0).all() and got.max() == 255
    assert (decode(geotiff(np.full((1, 4, 4), np.nan, np.float32)), "a") == 0).all()


def test_size_and_sides():
    content = encode(Image.fromarray(np.tile(RGB, (2, 3, 1))))
    assert image_sides(content, "a") == (48, 32)
    assert decode(content, "a", 8).shape == (8, 8, 3)
    assert image_sides(geotiff(np.zeros((13, 5, 9), np.uint16)), "a") == (9, 5)
    flat = resize(np.full((20, 30, 3), 77, np.uint8), 16)
    assert flat.shape == (16, 16, 3) and (flat == 77).all()


@pytest.mark.parametrize("content", [b"", b"not an image", b"II*\0", encode(Image.fromarray(RGB))[:60]])
def test_unreadable_image_is_named_in_one_line(content):
    with pytest.raises(DataError, match=r"^Cannot read the image field/bad\.png .*repair or remove it\.$"):
        decode(content, "field/bad.png")


def test_pixel_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    content = bytearray(encode(Image.new("L", (8, 8))))
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with pytest.raises(DataError, match=r"bomb\.png"):
        decode(bytes(content), "bomb.png")
    monkeypatch.setattr("rsprune_lib.data.decode.MAX_PIXELS", 100)
    with pytest.raises(DataError, match="cut it into tiles"):
        decode(geotiff(np.zeros((5, 20, 20), np.uint16)), "scene.tif")

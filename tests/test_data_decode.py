"""Decoding: every kind of image a folder may hold becomes RGB uint8, and a bad one is named."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from rasterio.io import MemoryFile

from rsprune_lib.data.bands import parse_bands
from rsprune_lib.data.decode import decode, image_sides, quiet, resize, taken_bands
from rsprune_lib.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
RAMP = np.linspace(0, 255, 16 * 16).reshape(16, 16)
RGB = np.stack([RAMP, RAMP.T, 255 - RAMP], 2).astype(np.uint8)


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def geotiff(bands, names=None, **profile):
    """bands: (C, H, W)."""
    shape = {"count": bands.shape[0], "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    with MemoryFile() as memory:
        with memory.open(**{"driver": "GTiff"} | shape | profile) as raster:
            raster.write(bands)
            if names:
                raster.descriptions = names
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


def test_a_stretch_knows_no_outliers_and_keeps_the_colours():
    """One glint does not darken the rest, and a band that is half as bright stays half as bright."""
    deep = np.stack([1000 + RAMP * 8, 1000 + RAMP * 4, 1000 + RAMP * 2]).astype(np.uint16)
    deep[:, 0, 0] = 60_000
    got = decode(geotiff(deep), "a").astype(int).reshape(-1, 3)[1:]
    red, green, blue = got[:250].T  # below the highest percentile
    assert np.abs(red - RAMP.ravel()[1:251]).max() < 8
    assert np.abs(green - red / 2).max() < 4 and np.abs(blue - red / 4).max() < 4


def test_jpeg_2000_of_any_depth():
    assert (decode(encode(Image.fromarray(RGB), "JPEG2000"), "a") == RGB).all()
    for count in (3, 4):  # Pillow alone would return almost black
        content = geotiff(RGB.transpose(2, 0, 1)[[0, 1, 2, 0][:count]].astype(np.uint16) * 8, driver="JP2OpenJPEG")
        assert np.abs(decode(content, "a").astype(int) - RGB).max() < 60, "lossy; the stretch is right"


def test_sixteen_bit_rgb_png():
    raw = (
        (RGB.astype(np.uint16) * 8).astype(">u2").reshape(16, -1)
    )  # 11 of 16 bits: Pillow alone would return almost black
    rows = b"".join(b"\0" + row.tobytes() for row in raw)
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0), b"IDAT" + zlib.compress(rows), b"IEND")
    png = b"\x89PNG\r\n\x1a\n"
    png += b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    assert np.abs(decode(png, "a").astype(int) - RGB).max() < 6


def test_bands_are_chosen_by_name_by_colour_by_sensor_and_by_hand():
    flat = [np.full((16, 16), 10 * i, np.uint8) for i in range(1, 14)]
    plain = {"photometric": "MINISBLACK"}

    def taken(count, bands=None, names=None, **profile):
        content = geotiff(np.stack(flat[:count]), names=names, **(plain | profile))
        return (decode(content, "a", bands=bands)[0, 0] // 10).tolist(), taken_bands(content, "a", bands)

    assert taken(3) == ([1, 2, 3], None)
    assert taken(13) == ([4, 3, 2], "of 13 bands B4, B3, B2 are taken as red, green, blue, in Sentinel-2's order")
    assert taken(12)[0] == [4, 3, 2], "level 2A lacks band 10"
    assert taken(4) == ([1, 2, 3], "of 4 bands 1, 2, 3 are taken as red, green, blue"), "the fourth is near infrared"
    assert taken(4, names=["B02", "B03", "B04", "B08"])[0] == [3, 2, 1]
    assert taken(5, names=["Red Edge", "nir", "blue", "Green", "RED"])[0] == [5, 4, 3]
    assert taken(13, names=[f"B{i}" for i in range(13, 0, -1)])[0] == [10, 11, 12], "names say more than numbers"
    said = "of 13 bands B8, B4, 9 are taken as red, green, blue, in Sentinel-2's order"
    assert taken(13, "8,B4,9") == ([8, 4, 9], said), "where B8A stands differs from archive to archive"
    assert taken(4, "4")[0] == [4, 4, 4]
    assert taken(4, "B8,B4,B3", names=["B02", "B03", "B04", "B08"])[0] == [4, 3, 2]
    order = ["blue", "green", "red", "nir"]  # and no other statement: GDAL calls them red, green, blue and alpha
    names_win = "of 4 bands nir, red, green are taken as red, green, blue"
    assert taken(4, "nir,red,green", names=order, photometric=None) == ([4, 3, 2], names_win)
    assert taken(4, names=order, photometric=None)[0] == [3, 2, 1], "a band called nir is not alpha"
    assert taken(2) == ([1, 1, 1], "of 2 bands 1 is taken as grey")
    with pytest.raises(DataError, match=r"it has 4 band\(s\), but band 8 is wanted"):
        taken(4, "8,4,3")
    with pytest.raises(DataError, match=r"image b\.png: it has .* choose the bands \(--bands\)"):
        taken_bands(encode(Image.fromarray(RGB)), "b.png", "8,4,3")
    assert (decode(encode(Image.fromarray(RGB)), "a", bands="3,2,1") == RGB[..., ::-1]).all()
    with pytest.raises(DataError, match="bands red, green, blue, but band 4"):
        decode(encode(Image.fromarray(RGB)), "a", bands="4,3,2")
    assert taken(4, "4,3,2", photometric="RGB", alpha="unspecified") == (
        [4, 3, 2],
        "of 4 bands 4, 3, 2 are taken as red, green, blue",
    ), "also where the file states alpha, as GDAL does for any fourth band"
    with pytest.raises(DataError, match="complex; save their magnitudes"):
        decode(geotiff(np.stack(flat[:3]).astype(np.complex64)), "a")
    assert decode(geotiff(np.stack(flat[:2])), "a").shape == (16, 16, 3)
    tiled = np.tile(np.concatenate([RGB.transpose(2, 0, 1), RGB.transpose(2, 0, 1)[:1]]), (1, 4, 4))
    content = geotiff(tiled, tiled=True, blockxsize=32, blockysize=32, compress="deflate", **plain)
    assert (decode(content, "a")[:16, :16] == RGB).all()


def test_a_choice_of_bands_is_checked():
    assert parse_bands(" 8, 4,3") == "8,4,3" and parse_bands(None) is None
    for text in ("8,4", "", "1,2,3,4", "1,,3"):
        with pytest.raises(DataError, match="expected three for red, green and blue, or one"):
            parse_bands(text)


def test_alpha_is_one_rule_for_all_formats():
    rgba = np.dstack([RGB, np.tile(np.array([0, 100, 200, 255], np.uint8), (16, 4))])
    expected = decode(encode(Image.fromarray(rgba)), "a")
    assert (expected[:, 0] == 0).all() and (expected[:, 3] == RGB[:, 3]).all()
    assert np.abs(expected[:, 1].astype(int) - RGB[:, 1] * (100 / 255)).max() <= 1
    for content in (
        encode(Image.fromarray(rgba), "WEBP", lossless=True, exact=True),
        encode(Image.fromarray(rgba), "TIFF"),
    ):
        assert (decode(content, "a") == expected).all()
    keyed = encode(Image.fromarray(np.zeros((4, 4, 3), np.uint8) + 9), transparency=(9, 9, 9))
    assert (decode(keyed, "a") == 0).all(), "a colour that stands for transparent"
    grey = np.stack([RGB[..., 0], np.zeros((16, 16), np.uint8)])
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", count=2, height=16, width=16, dtype="uint8", alpha="yes") as raster:
            raster.write(grey)
        assert (decode(memory.read(), "a") == 0).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_images_come_upright(kind):
    pixels, options = RGB[:6, :9], {"lossless": True} if kind == "WEBP" else {}
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = encode(Image.fromarray(pixels), kind, exif=exif, **options)
        shown = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))
        assert (decode(content, "a") == shown).all(), f"orientation {orientation}"
        assert image_sides(content, "a") == shown.shape[1::-1]
    exif[0x0112] = 99
    assert (decode(encode(Image.fromarray(pixels), "PNG", exif=exif), "a") == pixels).all()


def test_alpha_of_sixteen_bits_and_colours_that_were_multiplied_by_it_already():
    deep = np.stack([1000 + RAMP * 4] * 3 + [np.full((16, 16), 65535)]).astype(np.uint16)
    opaque = decode(geotiff(deep, photometric="RGB", alpha="non-premultiplied"), "a").astype(int)
    deep[3] = 0x80FF
    half = decode(geotiff(deep, photometric="RGB", alpha="non-premultiplied"), "a").astype(int)
    assert np.abs(half - opaque / 2).max() <= 2 and opaque.max() == 255
    premultiplied = {"photometric": "RGB", "alpha": "premultiplied"}
    bands = np.concatenate([RGB.transpose(2, 0, 1) // 2, np.full((1, 16, 16), 128, np.uint8)])
    assert (decode(geotiff(bands, **premultiplied), "a") == RGB // 2).all()
    assert (decode(geotiff(deep, **premultiplied), "a") == opaque).all()


def test_what_a_file_does_not_know_is_black_and_not_stretched():
    bands = (1000 + RGB.transpose(2, 0, 1).astype(np.int16)).copy()
    bands[1, 0] = -9999  # one band only, and the file does not say that it means no data
    for content in (geotiff(bands), geotiff(bands, nodata=-9999)):
        got = decode(content, "a").astype(int)
        assert (got[0, :, 1] == 0).all() and np.abs(got[1:] - RGB[1:]).max() < 8
    scene = (5000 + RGB.transpose(2, 0, 1).astype(np.uint16) * 4).copy()
    scene[:, 0] = 0  # around a scene of Sentinel-2 or Landsat
    got = decode(geotiff(scene), "a").astype(int)
    assert (got[0] == 0).all() and np.abs(got[1:] - RGB[1:]).max() < 8
    white = Image.fromarray(255 - RGB[..., 0])
    assert (decode(encode(white, "TIFF", tiffinfo={262: 0}), "a")[..., 0] == np.asarray(white)).all()


def test_decoders_are_quiet(capfd):
    exif = b"Exif\0\0II*\0\xff\xff\0\0"
    contents = encode(Image.fromarray(RGB), "JPEG", exif=exif), geotiff(np.zeros((13, 5, 9), np.uint16))
    with warnings.catch_warnings(record=True) as caught, quiet():
        for content in contents:
            decode(content, "a")
            image_sides(content, "a")
    assert not caught and capfd.readouterr().err == ""


def test_float_tiff_with_gaps():
    bands = RGB.transpose(2, 0, 1).astype(np.float32) / 100
    bands[:, 0, 0] = -9999
    bands[:, 1, 1] = np.nan
    got = decode(geotiff(bands, nodata=-9999.0), "a")
    assert (got[0, 0] == 0).all() and got.max() == 255
    bands[:, 2, 2] = 3.4e38  # another usual value for no data, which this file does not state
    again = decode(geotiff(bands, nodata=-9999.0), "a").astype(int)
    assert (again[2, 2] == 0).all() and np.abs(again - got).reshape(256, 3)[35:].max() <= 1
    assert (decode(geotiff(np.full((1, 4, 4), np.nan, np.float32)), "a") == 0).all()


def test_size_and_sides():
    content = encode(Image.fromarray(np.tile(RGB, (2, 3, 1))))
    assert image_sides(content, "a") == (48, 32)
    assert decode(content, "a", 8).shape == (8, 8, 3)
    assert image_sides(geotiff(np.zeros((13, 5, 9), np.uint16)), "a") == (9, 5)
    board = np.where(np.indices((32, 32)).sum(0) % 2, 255, 0).astype(np.uint8)[..., None].repeat(3, 2)
    assert np.abs(resize(board, 16).astype(int) - 127).max() < 10, "antialiased: pixels are means, none is skipped"
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


def test_one_value_everywhere_is_mid_grey_and_a_small_range_is_stretched():
    for value, grey in ((0.3, 128), (3000.0, 128), (-5.0, 128), (0.0, 0), (np.nan, 0)):
        assert (decode(geotiff(np.full((1, 16, 16), value, np.float32)), "a") == grey).all(), value
    small = decode(geotiff(1e-8 * np.linspace(0, 1, 256, dtype=np.float32).reshape(1, 16, 16)), "a")
    assert small.min() == 0 and small.max() == 255 and 120 < small.mean() < 135
    sparse = np.zeros((1, 16, 16), np.float32)
    sparse[0, 0, 0] = 7  # fewer than one in a hundred
    assert decode(geotiff(sparse), "a")[0, 0, 0] == 255

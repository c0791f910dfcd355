"""The door for images: files of every mode that Pillow writes, and folders as people have them."""

from __future__ import annotations

import contextlib
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from selection import examples

from siamkit.data import fit_preprocessor, load_preprocessor
from siamkit.data.preprocessing.scaling import ImageScaler
from siamkit.data.sources import image_folder
from siamkit.data.sources.images import (
    Resizing,
    choose_resizing,
    pixels_of,
    read_header,
    read_image,
    resize,
)
from siamkit.data.streaming import StreamRequest
from siamkit.data.streaming.open import open_file, open_items
from siamkit.errors import DataError

Image.init()

RED, HALF = (200, 30, 60), 128
ON_WHITE = tuple(round(255 + (value - 255) * HALF / 255) for value in RED)
GREY_ON_WHITE = round(255 + (100 - 255) * HALF / 255)


def palette(mode: str, alpha: int | None = None) -> Image.Image:
    image = Image.new(mode, (12, 16), 1 if alpha is None else (1, alpha))
    image.putpalette([0, 0, 0, *RED])
    return image


def solid(mode: str, value: object) -> Image.Image:
    return Image.new(mode, (12, 16), value)


# Each mode with the color that a person sees, by hand. L* 53.585 is sRGB's grey 128, in bytes 137.
SEEN = {
    "1": (solid("1", 1), (255, 255, 255)),
    "L": (solid("L", 100), (100, 100, 100)),
    "P": (palette("P"), RED),
    "PA": (palette("PA", HALF), ON_WHITE),
    "LA": (solid("LA", (100, HALF)), (GREY_ON_WHITE,) * 3),
    "La": (solid("LA", (100, HALF)).convert("La"), (GREY_ON_WHITE,) * 3),
    "RGB": (solid("RGB", RED), RED),
    "RGBX": (solid("RGBX", (*RED, 0)), RED),
    "RGBA": (solid("RGBA", (*RED, HALF)), ON_WHITE),
    "RGBa": (solid("RGBA", (*RED, HALF)).convert("RGBa"), ON_WHITE),
    "CMYK": (solid("CMYK", (0, 255, 255, 0)), (255, 0, 0)),
    "YCbCr": (solid("YCbCr", (76, 85, 255)), (254, 0, 0)),
    "LAB": (solid("LAB", (137, 128, 128)), (128, 128, 128)),
    "HSV": (solid("HSV", (0, 255, 255)), (255, 0, 0)),
    "I": (solid("I", 100 * 257), (100, 100, 100)),
    "F": (solid("F", 100 / 255), (100, 100, 100)),
    "I;16": (solid("I;16", 100 * 257), (100, 100, 100)),
    "I;16L": (solid("I;16L", 100 * 257), (100, 100, 100)),
    "I;16B": (solid("I;16B", 100 * 257), (100, 100, 100)),
}
LOSSY = {"AVIF", "JPEG", "MPO", "WEBP"}


@pytest.mark.parametrize("mode", SEEN)
def test_every_mode_becomes_what_a_person_sees(mode: str) -> None:
    image, color = SEEN[mode]
    pixels = pixels_of(image, 3)
    assert pixels.shape == (16, 12, 3)
    np.testing.assert_allclose(pixels[3, 4], color, atol=1.01)
    assert pixels.dtype == (np.float32 if mode[0] in "IF" else np.uint8)
    grey = pixels_of(image, 1)
    assert grey.shape == (16, 12, 1)
    luma = np.dot((0.299, 0.587, 0.114), color)  # ITU-R 601
    np.testing.assert_allclose(grey[3, 4, 0], luma, atol=1.51)


def written(mode: str, suffix: str) -> bytes | None:
    """The file that Pillow writes of a mode; None if it cannot, or loses the picture in writing."""
    image, _ = SEEN[mode]
    stream = io.BytesIO()
    try:
        image.save(stream, suffix)
        with Image.open(stream) as again:
            again.load()
    except Exception:
        return None
    # Pillow writes these modes into these formats as palette numbers, clipped, or without transparency.
    loses = (
        (image.mode in ("P", "PA") and suffix in ("IM", "SPIDER", "BMP", "DIB"))
        or (mode[0] in "IF" and again.mode[0] not in "IF")
        or (mode in ("RGBA", "LA") and again.mode in ("RGB", "L"))
        or (mode == "LAB" and suffix != "TIFF")
        or (mode == "RGBX" and suffix == "TIFF")
        or (mode in ("PA", "RGBa", "La") and suffix in ("AVIF", "WEBP", "GIF"))
        or (mode in ("RGBA", "LA") and suffix == "GIF")
        or (mode == "RGBa" and suffix == "TIFF")
    )
    return None if loses or suffix == "SPIDER" else stream.getvalue()


@pytest.mark.parametrize("suffix", sorted(Image.SAVE))
def test_every_file_that_pillow_writes_is_seen_the_same(tmp_path: Path, suffix: str) -> None:
    for mode, (_, color) in SEEN.items():
        if (content := written(mode, suffix)) is None:
            continue
        path = tmp_path / f"{mode.replace(';', '_')}.{suffix.lower()}"
        path.write_bytes(content)
        pixels = read_image(path, 3)
        middle = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]
        np.testing.assert_allclose(middle, color, atol=14 if suffix in LOSSY else 2.01, err_msg=mode)


def test_16_bits_keep_their_levels_and_agree_with_8_bits(tmp_path: Path) -> None:
    values = np.array([[0, 257, 4095], [65535, 32768, 1]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    pixels = read_image(tmp_path / "deep.png", 1)
    np.testing.assert_allclose(pixels[..., 0], values / 257, rtol=1e-6)
    Image.fromarray((values // 257).astype(np.uint8)).save(tmp_path / "flat.png")
    assert np.abs(pixels - read_image(tmp_path / "flat.png", 1)).max() < 1


def test_a_tiff_of_16_bits_whose_0_is_white_is_inverted(tmp_path: Path) -> None:
    values = np.array([[0, 257, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "x.tiff", tiffinfo={262: 0})
    assert read_image(tmp_path / "x.tiff", 1)[0, :, 0].tolist() == [255, 254, 0]


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (
            np.array([[-1000, 3000]], np.int32),
            r"its values run from -1000 to 3000; .* 0 \(black\) to 65535 \(w",
        ),
        (np.array([[0, 255]], np.float32), r"its values run from 0 to 255; .* 0 \(black\) to 1 \(white\)"),
        (np.array([[0, np.nan]], np.float32), "its values run from nan to nan"),
    ],
    ids=["signed", "floats", "nan"],
)
def test_greys_without_a_white_of_their_own_are_refused(tmp_path: Path, array, sentence: str) -> None:
    Image.fromarray(array).save(tmp_path / "x.tiff")
    with pytest.raises(DataError, match=rf"x.tiff cannot be read as an image: {sentence}"):
        read_image(tmp_path / "x.tiff", 1)


@pytest.mark.parametrize(
    ("mode", "value", "key"), [("L", 7, 7), ("RGB", (1, 2, 3), (1, 2, 3)), ("I;16", 700, 700), ("P", 1, 1)]
)
def test_a_color_that_stands_for_transparency_is_white(tmp_path: Path, mode: str, value, key) -> None:
    image = palette("P") if mode == "P" else Image.new(mode, (4, 3), value)
    image.save(tmp_path / "x.png", transparency=key)
    assert (read_image(tmp_path / "x.png", 3) == 255).all()


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "avif"])
def test_of_an_animation_the_first_frame_counts(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue", "green")]
    frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:])
    pixels = read_image(tmp_path / f"x.{suffix}", 3)
    np.testing.assert_allclose(pixels[16, 16], (255, 0, 0), atol=6)


def test_a_stack_of_pages_is_refused_but_not_a_page_with_its_preview(tmp_path: Path) -> None:
    pages = [Image.new("L", (8, 8), value) for value in (10, 20, 30)]
    pages[0].save(tmp_path / "x.tiff", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=r"x.tiff cannot be read .* it has 3 pages; save the page to use"):
        read_image(tmp_path / "x.tiff", 1)
    preview = Image.new("L", (4, 4), 20)
    preview.encoderinfo = {"tiffinfo": {254: 1}}  # a reduced copy of the page before
    pages[0].save(tmp_path / "x.tiff", save_all=True, append_images=[preview])
    assert read_image(tmp_path / "x.tiff", 1).tolist() == [[[10]] * 8] * 8


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_rotated_as_their_exif_data_say(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = np.array([[0, 60, 120], [180, 220, 250]], np.uint8)
    # The stored rows and columns of each orientation, from the EXIF specification.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    image = Image.fromarray(np.ascontiguousarray(stored))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"x.{suffix}", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / f"x.{suffix}", 1)[..., 0], upright)
    assert read_header(tmp_path / f"x.{suffix}").size == upright.shape


WHOLE = {}
for name, mode in (
    ("PNG", "RGBA"),
    ("GIF", "P"),
    ("TIFF", "RGB"),
    ("JPEG", "RGB"),
    ("WEBP", "RGB"),
    ("BMP", "L"),
):
    stream = io.BytesIO()
    SEEN[mode][0].save(stream, name)
    WHOLE[name] = stream.getvalue()


@settings(max_examples=examples(150))
@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.floats(0, 1.3),
)
def test_a_damaged_file_is_an_image_or_a_sentence(tmp_path_factory, name, changes, end) -> None:
    content = bytearray(WHOLE[name])
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    path = tmp_path_factory.mktemp("damaged") / "x"
    path.write_bytes(content[: int(end * len(content))])
    with contextlib.suppress(DataError):
        pixels = read_image(path, 3)
        assert pixels.shape[2] == 3
        assert np.isfinite(pixels).all()


# ------------------------------------------------------------------ folders


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for kind, color in (("cat", 10), ("dog", 20)):
        (tmp_path / kind).mkdir()
        for number in range(3):
            Image.new("RGB", (4, 4), (color, number, 0)).save(tmp_path / kind / f"{number}.png")
    return tmp_path


def streamed(folder: Path, channels: int = 3, **options: object):
    scaler = ImageScaler((4, 4), np.zeros(channels), np.ones(channels))
    with open_file(folder, StreamRequest(scaler, size=2, **options)) as stream:
        chunks = list(stream.chunks)
    ids = [id for chunk in chunks for id in chunk.ids]
    labels = [label for chunk in chunks for label in chunk.labels]
    return ids, labels, np.concatenate([chunk.items for chunk in chunks]), list(stream.notes)


def test_what_systems_leave_behind_is_no_image_and_no_class(photos: Path) -> None:
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._0.png", "Icon\r", "@eaDir/0.png"):
        (photos / "cat" / name).parent.mkdir(exist_ok=True)
        (photos / "cat" / name).write_bytes(b"none")
    for name in ("__MACOSX/cat/x.png", ".cache/x.png", "@eaDir/x.png"):
        (photos / name).parent.mkdir(parents=True)
        (photos / name).write_bytes(b"none")
    data = image_folder(photos)
    assert data.ids.tolist() == [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(3)]
    assert data.notes == ()
    assert streamed(photos)[0] == data.ids.tolist()


def test_unreadable_images_are_named_all_at_once_or_left_out_and_counted(photos: Path) -> None:
    for number in range(6):
        (photos / "cat" / f"bad{number}.jpg").write_bytes(b"none")
    (photos / "dog" / "gone.png").symlink_to(photos / "nowhere.png")
    names = ", ".join(rf"cat/bad{number}.jpg \(not an image, or damaged\)" for number in range(5))
    counted = rf"7 of 13 images in .* cannot be read: {names} and 2 more"
    with pytest.raises(DataError, match=counted + ".* `skip_unreadable: true`"):
        image_folder(photos)
    with pytest.raises(DataError, match=counted + ".* --skip-unreadable"):
        streamed(photos)
    data = image_folder(photos, skip_unreadable=True)
    assert len(data) == 6
    (note,) = data.notes
    assert note.startswith("7 of 13 images in ")
    ids, labels, items, notes = streamed(photos, skip_unreadable=True)
    assert (ids, labels, notes) == (data.ids.tolist(), data.target.tolist(), [note])
    np.testing.assert_array_equal(items, data.views[0])


def test_a_class_without_a_readable_image_is_named(photos: Path) -> None:
    (photos / "bird").mkdir()
    (photos / "bird" / "x.png").write_bytes(b"none")
    with pytest.raises(DataError, match="bird should hold images of class 'bird', got none"):
        image_folder(photos, skip_unreadable=True)


def test_images_outside_the_class_folders_are_told(photos: Path) -> None:
    Image.new("RGB", (4, 4)).save(photos / "loose.png")
    (photos / "README.md").write_text("text")
    (note,) = image_folder(photos).notes
    assert note.endswith("were left out: loose.png.")
    assert streamed(photos)[3] == [note]


def test_names_that_are_not_utf_8_become_text(photos: Path) -> None:
    kind = os.fsencode(photos) + b"/caf\xe9"
    os.mkdir(kind)
    with open(kind + b"/\xff.png", "wb") as file:
        Image.new("RGB", (4, 4)).save(file, "png")
    data = image_folder(photos)
    assert data.target.tolist()[0] == "caf\\xe9"
    assert data.ids.tolist()[0] == "caf\\xe9/\\xff.png"
    assert streamed(photos)[:2] == (data.ids.tolist(), data.target.tolist())
    "".join(data.ids).encode()  # raises for a lone surrogate


def test_training_and_embedding_see_the_same_in_files_of_every_mode(tmp_path: Path) -> None:
    for mode in SEEN:
        for suffix in ("PNG", "TIFF"):
            if (content := written(mode, suffix)) is not None:
                path = tmp_path / "ab"[len(mode) % 2] / f"{mode.replace(';', '_')}.{suffix.lower()}"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
    for channels, name in ((1, "grey"), (3, "rgb")):
        data = image_folder(tmp_path, image_size=4, channels=name)
        ids, labels, items, _ = streamed(tmp_path, channels)
        assert (ids, labels) == (data.ids.tolist(), data.target.tolist())
        np.testing.assert_array_equal(items, data.views[0])


# ------------------------------------------------------------------ one size for all


@pytest.mark.parametrize(
    ("sizes", "size", "fit"),
    [
        ([(28, 28)] * 3, (28, 28), "crop"),  # one size stays
        ([(90, 120)] * 3, (90, 120), "crop"),
        ([(3000, 4000)] * 3, (80, 112), "crop"),  # 96 · 96 pixels as 3 : 4 are 83 x 111
        ([(48, 40), (200, 200), (90, 50)], (48, 48), "crop"),  # of 40, 200 and 50, down to a multiple of 8
        ([(480, 640), (640, 480), (3000, 4000)], (96, 96), "crop"),
        ([(9, 9), (7, 12), (20, 11)], (32, 32), "crop"),
        ([(480, 640), (960, 1280), (3000, 4000)], (80, 112), "crop"),  # one shape, three sizes
        ([(20, 60), (20, 100), (20, 200)], (32, 32), "pad"),  # of 20 x 100 a square keeps a fifth
        ([(60, 20)], (60, 20), "crop"),
        ([], (32, 32), "crop"),
    ],
)
def test_the_size_and_the_fit_follow_from_the_images(sizes, size, fit) -> None:
    assert choose_resizing(np.array(sizes, np.int64).reshape(-1, 2)) == (size, fit)


def test_a_given_size_and_a_given_fit_are_kept() -> None:
    sizes = np.array([(20, 60), (20, 100), (20, 200)])
    assert choose_resizing(sizes, (64, 64)) == ((64, 64), "pad")
    assert choose_resizing(sizes, (20, 90)) == ((20, 90), "crop")
    assert choose_resizing(sizes, None, "stretch") == ((32, 32), "stretch")


@settings(max_examples=examples(60), deadline=None)
@given(
    st.sampled_from(("L", "RGB", "F")),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_images_are_resized_as_pillow_does(mode: str, before, after) -> None:
    rng = np.random.default_rng(0)
    shape = (before[1], before[0], 3) if mode == "RGB" else (before[1], before[0])
    pixels = rng.integers(0, 256, shape)
    image = Image.fromarray(pixels.astype(np.float32 if mode == "F" else np.uint8))
    bilinear, size = Image.Resampling.BILINEAR, after[::-1]
    white = (255,) * 3 if mode == "RGB" else 255
    expected = {
        "crop": ImageOps.fit(image, after, bilinear),
        "pad": ImageOps.pad(image, after, bilinear, white),
        "stretch": image.resize(after, bilinear),
    }
    for fit, wanted in expected.items():
        np.testing.assert_array_equal(resize(image, Resizing(size, fit)), wanted, err_msg=fit)


def photo(path: Path, width: int, height: int, seed: int, mode: str = "RGB", **options: object) -> None:
    """A smooth picture, which survives compression."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    small.resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(path, **options)


def test_photos_of_all_sizes_become_of_one_size_without_squashing(tmp_path: Path) -> None:
    shapes = {"cat/1.png": (64, 48), "cat/2.png": (48, 90), "dog/1.png": (200, 100), "dog/2.png": (56, 56)}
    for number, (name, shape) in enumerate(shapes.items()):
        photo(tmp_path / name, *shape, number)
    data = image_folder(tmp_path)
    assert data.views[0].shape == (4, 48, 48, 3)  # the median of 48, 48, 100 and 56 is 52
    for name, pixels in zip(shapes, data.views[0], strict=True):
        with Image.open(tmp_path / name) as image:
            np.testing.assert_array_equal(pixels, ImageOps.fit(image, (48, 48), Image.Resampling.BILINEAR))
    assert data.notes == (
        "4 images, 64x48 to 200x100 pixels, were resized to 48x48, cropped at the center (`image_size` and "
        "`fit` under `data:` change this).",
    )
    padded = image_folder(tmp_path, image_size=48, fit="pad")
    assert (padded.views[0][2, [0, -1]] == 255).all()
    assert padded.image_fit == "pad"
    assert "were resized to 48x48, with white borders" in padded.notes[0]
    photo(tmp_path / "dog/3.png", 48, 48, 9)
    assert image_folder(tmp_path).notes[0].startswith("4 images of 5, 64x48 to 200x100 pixels, were")


def test_images_of_one_size_are_left_alone_unless_it_is_huge(tmp_path: Path) -> None:
    for number in range(2):
        photo(tmp_path / f"{number}.png", 128, 128, number)
    data = image_folder(tmp_path)
    assert (data.views[0].shape, data.notes) == ((2, 128, 128, 3), ())
    for number in range(2):
        photo(tmp_path / f"{number}.png", 160, 120, number)
    data = image_folder(tmp_path)
    assert data.views[0].shape == (2, 80, 112, 3)
    assert data.notes[0].startswith("2 images, 160x120 pixels, were resized to 112x80, cropped")


def test_a_large_jpeg_is_not_decoded_whole_but_looks_the_same(tmp_path: Path, monkeypatch) -> None:
    photo(tmp_path / "x.jpg", 1600, 1200, 0, quality=95)
    seen = []

    def spied(image, *rest):
        seen.append(image.size)
        return pixels_of(image, *rest)

    monkeypatch.setattr("siamkit.data.sources.images.pixels_of", spied)
    pixels = read_image(tmp_path / "x.jpg", 3, Resizing((64, 64), "crop"))
    assert seen == [(200, 150)]  # an eighth
    with Image.open(tmp_path / "x.jpg") as image:
        whole = ImageOps.fit(image, (64, 64), Image.Resampling.BILINEAR)
    assert np.abs(pixels.astype(int) - np.asarray(whole)).mean() < 1


def test_sizes_are_read_from_headers(tmp_path: Path) -> None:
    photo(tmp_path / "whole.jpg", 400, 300, 0)
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    assert read_header(tmp_path / "cut.jpg") == ((300, 400), "RGB", "JPEG")
    with pytest.raises(DataError, match="image file is truncated"):
        read_image(tmp_path / "cut.jpg", 3)
    turned = Image.new("L", (6, 4))
    exif = turned.getexif()
    exif[0x0112] = 6
    for name in ("turned.png", "turned.jpg", "turned.tiff"):
        turned.save(tmp_path / name, exif=exif)
        assert read_header(tmp_path / name)[:2] == ((6, 4), "L")
        assert read_image(tmp_path / name, 1).shape[:2] == (6, 4)


@settings(max_examples=examples(25), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(20, 300),
            st.integers(20, 300),
            st.sampled_from(("jpg:RGB", "jpg:L", "jpg:CMYK", "png:RGBA", "png:P", "webp:RGB", "bmp:L")),
            st.integers(1, 8),
        ),
        min_size=2,
        max_size=5,
    ),
    st.sampled_from(("auto", "crop", "pad", "stretch")),
    st.sampled_from((None, 24, 40)),
    st.sampled_from(("rgb", "grey")),
)
def test_training_and_embedding_see_the_same_pixels(tmp_path_factory, photos, fit, side, channels) -> None:
    folder = tmp_path_factory.mktemp("photos")
    for number, (width, height, kind, orientation) in enumerate(photos):
        suffix, mode = kind.split(":")
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {} if suffix == "bmp" else {"exif": exif}
        photo(folder / "ab"[number % 2] / f"{number}.{suffix}", width, height, number, mode, **options)
    data = image_folder(folder, image_size=side, fit=fit, channels=channels)
    fit_preprocessor(data).save(folder / ".model")
    request = StreamRequest(load_preprocessor(folder / ".model"), size=2)
    for source in (None, "image_folder"):
        with open_items(folder, source, request) as stream:
            chunks = list(stream.chunks)
        assert [id for chunk in chunks for id in chunk.ids] == data.ids.tolist()
        np.testing.assert_array_equal(np.concatenate([chunk.items for chunk in chunks]), data.views[0])


def test_a_header_that_promises_more_than_memory_is_a_sentence(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("L", (4, 4)).save(stream, "BMP")
    content = bytearray(stream.getvalue())
    content[18:26] = struct.pack("<ii", 60_000, 60_000)
    (tmp_path / "x.bmp").write_bytes(content)
    with pytest.raises(DataError, match=r"x.bmp cannot be read as an image: Image size .* exceeds limit"):
        read_image(tmp_path / "x.bmp", 1)

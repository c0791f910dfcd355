"""Photos as a stranger has them: twelve classes, sizes and modes mixed, one corrupt file, hidden files."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

KINDS = (
    "anchor", "basket", "candle", "drum", "envelope", "flag",
    "glove", "hammer", "iron", "jar", "kettle", "lamp",
)  # fmt: skip
"""The classes; each has a shape, a texture and a hue, and no other class has the same shape and texture."""

CORRUPT = "drum/IMG_0007.jpg"
LEFT_BEHIND = (".DS_Store", "anchor/Thumbs.db", "basket/._IMG_0001.jpg", ".cache/x.jpg", "lamp/desktop.ini")

# The formats that store each mode, and how often the mode occurs.
_FORMATS = {
    "RGB": (0.62, ("jpg", "jpg", "JPG", "png", "webp", "bmp")),
    "L": (0.1, ("jpg", "png", "bmp")),
    "RGBA": (0.12, ("png", "webp")),
    "P": (0.08, ("png",)),
    "CMYK": (0.08, ("jpg",)),
}


def write_photos(folder: Path, seed: int = 0, per_class: tuple[int, int] = (20, 30)) -> int:
    """Write the photos to a new folder, one subfolder per class; return the number of readable ones.

    What a photo shows is told by its shape (disc, triangle, cross, square), its texture (plain, stripes,
    dots) and its hue. Place, size, angle, light, background and clutter are random, so that distances between
    raw pixels say little.

    Args:
        folder: the folder, which is created.
        seed: random seed; the same seed writes the same pictures.
        per_class: the least and the highest number of photos of a class.
    """
    rng = np.random.default_rng(seed)
    total = 0
    for number, kind in enumerate(KINDS):
        (folder / kind).mkdir(parents=True)
        for index in range(int(rng.integers(per_class[0], per_class[1] + 1))):
            name = f"IMG_{index:04d}"
            if f"{kind}/{name}.jpg" != CORRUPT:
                _save(_picture(number, rng), folder / kind / name, rng)
                total += 1
    whole = next(path for path in sorted((folder / "anchor").iterdir()) if path.suffix.lower() == ".jpg")
    (folder / CORRUPT).write_bytes(whole.read_bytes()[:300])
    for name in LEFT_BEHIND:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"left behind by a system")
    return total


def _picture(number: int, rng: np.random.Generator) -> Image.Image:
    """Draw a photo of a class, with sides of 80 to 400 pixels."""
    width, height = (int(side) for side in np.clip(rng.integers(80, 401) * rng.uniform(0.7, 1.4, 2), 80, 400))
    side = min(width, height)
    image = _background(width, height, rng)
    for _ in range(rng.integers(0, 4)):  # clutter
        place = rng.uniform(0, 1, 2) * (width, height)
        _paste(image, int(rng.integers(4)), 0, rng.uniform(0, 1), side * rng.uniform(0.08, 0.16), place, rng)
    hue = (number * 5 % 12) / 12 + rng.normal(0, 0.02)
    size = side * rng.uniform(0.5, 0.8)
    place = np.array((width, height)) / 2 + rng.uniform(-0.5, 0.5, 2) * (side - size)
    _paste(image, number % 4, number % 3, hue, size, place, rng)
    light = rng.uniform(0.6, 1.2) * np.asarray(image, np.float32)
    noisy = light + rng.normal(0, rng.uniform(2, 10), light.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def _background(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    base = np.array(colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0, 0.5), rng.uniform(0.2, 1)))
    blotches = np.clip(base + rng.normal(0, 0.15, (4, 4, 3)), 0, 1)
    small = Image.fromarray((255 * blotches).astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def _paste(
    image: Image.Image,
    shape: int,
    texture: int,
    hue: float,
    size: float,
    place: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Paste a shape with a texture, turned by up to 25 degrees, with its middle at a place."""
    side = max(8, int(size))
    unit = np.array([side, side])
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    if shape == 0:
        draw.ellipse((0, 0, side - 1, side - 1), fill=255)
    elif shape == 1:
        draw.polygon([tuple(point * unit) for point in np.array([(0.5, 0), (1, 1), (0, 1)])], fill=255)
    elif shape == 2:
        draw.rectangle((side * 0.34, 0, side * 0.66, side), fill=255)
        draw.rectangle((0, side * 0.34, side, side * 0.66), fill=255)
    else:
        draw.rectangle((side * 0.06, side * 0.06, side * 0.94, side * 0.94), fill=255)
    value = rng.uniform(0.55, 1)
    light, dark = (
        tuple(int(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.7, 1), value * factor))
        for factor in (1, 0.35)
    )
    surface = Image.new("RGB", (side, side), light)
    draw = ImageDraw.Draw(surface)
    step = side / 6
    for row in range(6):
        if texture == 1:
            draw.rectangle((0, row * step, side, (row + 0.5) * step), fill=dark)
        for column in range(6) if texture == 2 else ():
            corner = np.array((column, row)) * step + 0.2 * step
            draw.ellipse((*corner, *(corner + 0.6 * step)), fill=dark)
    angle = float(rng.uniform(-25, 25))
    mask = mask.rotate(angle, expand=True, resample=Image.Resampling.BILINEAR)
    surface = surface.rotate(angle, expand=True, resample=Image.Resampling.BILINEAR)
    mask = mask.filter(ImageFilter.GaussianBlur(0.7))
    corner = (np.asarray(place) - np.array(mask.size) / 2).astype(int)
    image.paste(surface, (int(corner[0]), int(corner[1])), mask)


def _save(image: Image.Image, path: Path, rng: np.random.Generator) -> None:
    """Save a picture in a random mode and in a format that stores it; some JPEGs are stored lying."""
    modes = list(_FORMATS)
    mode = modes[rng.choice(len(modes), p=[_FORMATS[name][0] for name in modes])]
    suffix = str(rng.choice(_FORMATS[mode][1]))
    options: dict[str, object] = {}
    if suffix.lower() in ("jpg", "webp"):
        options["quality"] = int(rng.integers(60, 95))
    if suffix == "JPG" and rng.uniform() < 0.5:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif = image.getexif()
        exif[0x0112] = 6  # a viewer turns it back
        options["exif"] = exif
    image = image.convert(mode)
    if mode == "RGBA":  # a corner that shows the page behind it
        image.paste((0, 0, 0, 0), (0, 0, image.width // 8, image.height // 8))
    image.save(path.with_suffix(f".{suffix}"), **options)

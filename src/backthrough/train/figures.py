"""The pictures of a run and their captions."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from jaxtyping import Float
from PIL import Image

from backthrough.core.files import write_atomically
from backthrough.train.plot_style import readable_in_the_dark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP = 2  # pixels between the pictures of a grid


class Figures:
    """Pictures in a folder; `figures.json` maps their file names to captions, in the order they were made."""

    def __init__(self, folder: Path):
        self.folder = folder

    def save_images(
        self, name: str, images: Float[np.ndarray, "row column height width"], *, caption: str
    ) -> Path:
        """Writes a grid of grey pictures as one PNG.

        Args:
            name: File name without ending.
            images: Intensities in [0, 1], 1 is ink.
            caption: One sentence that says what is to be seen.
        """
        rows, columns, height, width = images.shape
        canvas = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP), 128, np.uint8)
        for row in range(rows):
            for column in range(columns):
                top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
                grey = np.rint(255 * (1 - images[row, column]))
                canvas[top : top + height, left : left + width] = grey.clip(0, 255)
        picture = Image.fromarray(canvas)
        return self._save(f"{name}.png", lambda file: picture.save(file, format="PNG"), caption)

    def save_plot(self, name: str, figure: "Figure", *, caption: str) -> Path:
        """Writes a matplotlib figure as SVG, which a dark page shows in light colours."""
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None}, transparent=True)
        content = readable_in_the_dark(drawn.getvalue()).encode()
        return self._save(f"{name}.svg", lambda file: file.write(content), caption)

    def captions(self) -> dict[str, str]:
        """File name -> caption."""
        index = self.folder / "figures.json"
        return json.loads(index.read_text()) if index.exists() else {}

    def _save(self, file_name: str, write: Callable[[BinaryIO], object], caption: str) -> Path:
        """The picture first, so that every picture in the index exists."""
        self.folder.mkdir(exist_ok=True)
        write_atomically(self.folder / file_name, write)
        captions = {**self.captions(), file_name: caption}
        write_atomically(self.folder / "figures.json", json.dumps(captions, indent=1).encode())
        return self.folder / file_name

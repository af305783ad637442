"""Data sets by name, each with its licence and verified, and readers for your own data."""

from backthrough.datasets.arrays import read_arrays
from backthrough.datasets.cells import MISSING, Cells, read_cells
from backthrough.datasets.contents import (
    Arrays,
    BinaryImages,
    Dataset,
    ImageFolder,
    Images,
    Messages,
    Ratings,
    Regression,
    Sequences,
    Series,
    Sprites,
    Table,
    Text,
)
from backthrough.datasets.describing import Description, describe
from backthrough.datasets.entry import DataFile, Entry
from backthrough.datasets.fetching import fetch
from backthrough.datasets.images import is_image_name, read_image, read_images
from backthrough.datasets.loading import load
from backthrough.datasets.registry import dataset_names, find_entry
from backthrough.datasets.series_tables import SeriesTable, read_series
from backthrough.datasets.sprite_drawing import render_sprites, sprites
from backthrough.datasets.sprite_files import read_sprites
from backthrough.datasets.tables import read_columns, read_table

__all__ = [
    "MISSING",
    "Arrays",
    "BinaryImages",
    "Cells",
    "DataFile",
    "Dataset",
    "Description",
    "Entry",
    "ImageFolder",
    "Images",
    "Messages",
    "Ratings",
    "Regression",
    "Sequences",
    "Series",
    "SeriesTable",
    "Sprites",
    "Table",
    "Text",
    "dataset_names",
    "describe",
    "fetch",
    "find_entry",
    "is_image_name",
    "load",
    "read_arrays",
    "read_cells",
    "read_columns",
    "read_image",
    "read_images",
    "read_series",
    "read_sprites",
    "read_table",
    "render_sprites",
    "sprites",
]

"""Which part of an input would have to change, realistically, for a model to answer differently."""

from backthrough.explain.adapt import Adapter, JaxModel, NumpyModel, SklearnModel, adapt
from backthrough.explain.explaining import explain
from backthrough.explain.explanation import Explanation, Regions
from backthrough.explain.infill import Infiller
from backthrough.explain.search import PUBLISHED, Search
from backthrough.explain.torch_model import TorchModel
from backthrough.explain.units import Columns, Grid, Partition, Pixels, Positions, Superpixels, Units

__all__ = [
    "PUBLISHED",
    "Adapter",
    "Columns",
    "Explanation",
    "Grid",
    "Infiller",
    "JaxModel",
    "NumpyModel",
    "Partition",
    "Pixels",
    "Positions",
    "Regions",
    "Search",
    "SklearnModel",
    "Superpixels",
    "TorchModel",
    "Units",
    "adapt",
    "explain",
]

"""Infillers: what hidden features of an input might be."""

from backthrough.explain.infill.autoencoder import MaskedAutoencoder
from backthrough.explain.infill.check import check_infiller
from backthrough.explain.infill.evaluation import Evaluation, evaluate_infiller
from backthrough.explain.infill.fit import fit_infiller
from backthrough.explain.infill.gaussian import GaussianConditional
from backthrough.explain.infill.image_vaeac import ImageVAEAC
from backthrough.explain.infill.infiller import Infiller
from backthrough.explain.infill.numpy_infiller import NumpyInfiller
from backthrough.explain.infill.relaid import Relaid
from backthrough.explain.infill.simple import Constant, Marginal, Mean, Noise
from backthrough.explain.infill.smoothing import Blur, LocalMean
from backthrough.explain.infill.storage import load_infiller, save_infiller
from backthrough.explain.infill.vaeac import VAEAC

__all__ = [
    "VAEAC",
    "Blur",
    "Constant",
    "Evaluation",
    "GaussianConditional",
    "ImageVAEAC",
    "Infiller",
    "LocalMean",
    "Marginal",
    "MaskedAutoencoder",
    "Mean",
    "Noise",
    "NumpyInfiller",
    "Relaid",
    "check_infiller",
    "evaluate_infiller",
    "fit_infiller",
    "load_infiller",
    "save_infiller",
]

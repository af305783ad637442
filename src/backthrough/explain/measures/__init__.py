"""How good explanations are: measures of maps against a model, or against what is known to be there."""

from backthrough.explain.measures.artifacts import scatter
from backthrough.explain.measures.boxes import (
    Localisation,
    localisation,
    localisation_error,
    pointing_game,
    tight_boxes,
)
from backthrough.explain.measures.chance import scores_at_random
from backthrough.explain.measures.compactness import Compactness, smallest_area
from backthrough.explain.measures.deletion import Curve, deletion_curve, insertion_curve
from backthrough.explain.measures.relevance import relevance_mass, relevance_rank
from backthrough.explain.measures.saliency_metric import SaliencyMetric, saliency_metric

__all__ = [
    "Compactness",
    "Curve",
    "Localisation",
    "SaliencyMetric",
    "deletion_curve",
    "insertion_curve",
    "localisation",
    "localisation_error",
    "pointing_game",
    "relevance_mass",
    "relevance_rank",
    "saliency_metric",
    "scatter",
    "scores_at_random",
    "smallest_area",
    "tight_boxes",
]

"""Recommendations from chains of evidence: new users, items and ratings count at once.

Recursive Evidence Chains (arXiv 1807.02150).
"""

from backthrough.recommend.baselines import BiasBaseline, BiasedMF
from backthrough.recommend.chains import EvidenceChains
from backthrough.recommend.explanation import Explanation
from backthrough.recommend.files import read_ratings
from backthrough.recommend.store import RatingStore

__all__ = [
    "BiasBaseline",
    "BiasedMF",
    "EvidenceChains",
    "Explanation",
    "RatingStore",
    "read_ratings",
]

"""Regression and classification of a table that know how sure they are."""

from backthrough.regress.classifier import BayesianClassifier
from backthrough.regress.columns import Column, ColumnEncoder, Decisions
from backthrough.regress.features import Features
from backthrough.regress.network import METHODS, Network, default_batch_size, default_n_epochs
from backthrough.regress.prediction import ClassPrediction, TargetPrediction
from backthrough.regress.regressor import BayesianRegressor

__all__ = [
    "METHODS",
    "BayesianClassifier",
    "BayesianRegressor",
    "ClassPrediction",
    "Column",
    "ColumnEncoder",
    "Decisions",
    "Features",
    "Network",
    "TargetPrediction",
    "default_batch_size",
    "default_n_epochs",
]

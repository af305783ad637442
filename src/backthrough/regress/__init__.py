"""Regression and classification of a table that know how sure they are."""

from backthrough.regress.acquire import acquire
from backthrough.regress.calibration import Calibration, ClassCalibration, calibration, class_calibration
from backthrough.regress.class_evaluation import ClassEvaluation, evaluate_classes
from backthrough.regress.classifier import BayesianClassifier
from backthrough.regress.columns import ColumnEncoder
from backthrough.regress.deciding import Column, Decisions
from backthrough.regress.evaluation import Evaluation, evaluate
from backthrough.regress.features import Features
from backthrough.regress.network import METHODS, Network, default_batch_size, default_n_epochs
from backthrough.regress.prediction import ClassPrediction, TargetPrediction
from backthrough.regress.regressor import BayesianRegressor
from backthrough.regress.table import Held, Labelled, frame_of, hold_out, load, read_features, read_labelled

__all__ = [
    "METHODS",
    "BayesianClassifier",
    "BayesianRegressor",
    "Calibration",
    "ClassCalibration",
    "ClassEvaluation",
    "ClassPrediction",
    "Column",
    "ColumnEncoder",
    "Decisions",
    "Evaluation",
    "Features",
    "Held",
    "Labelled",
    "Network",
    "TargetPrediction",
    "acquire",
    "calibration",
    "class_calibration",
    "default_batch_size",
    "default_n_epochs",
    "evaluate",
    "evaluate_classes",
    "frame_of",
    "hold_out",
    "load",
    "read_features",
    "read_labelled",
]

"""The training loop, run directories and checkpoints that every room uses."""

from backthrough.train.average import Averaged, moving_average
from backthrough.train.batches import Batches, BatchSource, Stream
from backthrough.train.best import Best
from backthrough.train.checkpoints import Checkpoint, load_checkpoint, load_newest, save_checkpoint
from backthrough.train.environment import (
    describe_environment,
    describe_machine,
    use_compile_cache,
)
from backthrough.train.loop import Evaluate, Fitted, Step, fit, restore
from backthrough.train.metrics import read_metrics
from backthrough.train.model_file import load_model, save_model
from backthrough.train.placement import mean_over_shards
from backthrough.train.processes import Group, join
from backthrough.train.progress import ProgressBar
from backthrough.train.result import Headline, Number, mean_number
from backthrough.train.run import Run, read_config
from backthrough.train.schedules import ScheduleName, schedule
from backthrough.train.seeds import over_seeds

__all__ = [
    "Averaged",
    "BatchSource",
    "Batches",
    "Best",
    "Checkpoint",
    "Evaluate",
    "Fitted",
    "Group",
    "Headline",
    "Number",
    "ProgressBar",
    "Run",
    "ScheduleName",
    "Step",
    "Stream",
    "describe_environment",
    "describe_machine",
    "fit",
    "join",
    "load_checkpoint",
    "load_model",
    "load_newest",
    "mean_number",
    "mean_over_shards",
    "moving_average",
    "over_seeds",
    "read_config",
    "read_metrics",
    "restore",
    "save_checkpoint",
    "save_model",
    "schedule",
    "use_compile_cache",
]

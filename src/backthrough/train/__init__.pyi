from .average import Averaged, moving_average
from .batches import Batches, BatchSource, Stream, fitting_batch_size
from .best import Best
from .checkpoints import (
    Checkpoint,
    Progress,
    load_checkpoint,
    load_newest,
    read_progress,
    save_checkpoint,
)
from .chunks import map_in_chunks, n_examples
from .environment import (
    describe_environment,
    describe_machine,
    use_compile_cache,
)
from .loop import Evaluate, Fitted, Step, fit, restore
from .metrics import read_metrics
from .model_file import arrays_of, load_model, save_model, with_arrays
from .placement import mean_over_shards
from .plot_style import plot_style
from .processes import Group, join
from .progress import ProgressBar
from .result import Headline, Number, ResultTable, mean_number, three_digits, with_error
from .run import Run, read_config
from .schedules import ScheduleName, schedule
from .seeds import over_seeds

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
    "Progress",
    "ProgressBar",
    "ResultTable",
    "Run",
    "ScheduleName",
    "Step",
    "Stream",
    "arrays_of",
    "describe_environment",
    "describe_machine",
    "fit",
    "fitting_batch_size",
    "join",
    "load_checkpoint",
    "load_model",
    "load_newest",
    "map_in_chunks",
    "mean_number",
    "mean_over_shards",
    "moving_average",
    "n_examples",
    "over_seeds",
    "plot_style",
    "read_config",
    "read_metrics",
    "read_progress",
    "restore",
    "save_checkpoint",
    "save_model",
    "schedule",
    "three_digits",
    "use_compile_cache",
    "with_arrays",
    "with_error",
]

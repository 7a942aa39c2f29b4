"""The public names: the package loads each from its module when it is first used."""

import typing

from ._version import __version__ as __version__
from .callback import Callback as Callback
from .checkpoint.checkpoint import Checkpoint as Checkpoint
from .config import (
    CheckpointConfig as CheckpointConfig,
    FailureConfig as FailureConfig,
    ResumeConfig as ResumeConfig,
    RunConfig as RunConfig,
    TuneConfig as TuneConfig,
    WarmStart as WarmStart,
)
from .error import (
    ExperimentInterrupted as ExperimentInterrupted,
    TuneError as TuneError,
)
from .execution.cluster.api import (
    init as init,
    is_initialized as is_initialized,
    shutdown as shutdown,
)
from .experiments import Experiment as Experiment
from .orchestration.trainables import deployment as deployment
from .registry import (
    register_env as register_env,
    register_trainable as register_trainable,
)
from .reporters import (
    CLIReporter as CLIReporter,
    JupyterNotebookReporter as JupyterNotebookReporter,
    ProgressReporter as ProgressReporter,
)
from .resources import PlacementGroupFactory as PlacementGroupFactory
from .results import (
    Analysis as Analysis,
    ExperimentAnalysis as ExperimentAnalysis,
    Result as Result,
    ResultGrid as ResultGrid,
)
from .schedulers import create_scheduler as create_scheduler
from .search import create_searcher as create_searcher
from .simulation.attempt import Step as Step
from .simulation.cluster import SimulatedCluster as SimulatedCluster
from .simulation.compare import compare as compare
from .simulation.models import ResultTable as ResultTable
from .simulation.replay import replay as replay
from .simulation.simulate import (
    plan as plan,
    simulate as simulate,
)
from .space import (
    choice as choice,
    grid_search as grid_search,
    lograndint as lograndint,
    loguniform as loguniform,
    qlograndint as qlograndint,
    qloguniform as qloguniform,
    qrandint as qrandint,
    qrandn as qrandn,
    quniform as quniform,
    randint as randint,
    randn as randn,
    sample_from as sample_from,
    uniform as uniform,
)
from .stopper import (
    EarlyStopping as EarlyStopping,
    Stopper as Stopper,
)
from .storage.sync.sync_config import SyncConfig as SyncConfig
from .trainable.command import command as command
from .trainable.legacy import (
    DurableTrainable as DurableTrainable,
    durable as durable,
    function as function,
)
from .trainable.session import (
    TuneContext as TuneContext,
    checkpoint_dir as checkpoint_dir,
    get_checkpoint as get_checkpoint,
    get_context as get_context,
    get_trial_dir as get_trial_dir,
    get_trial_id as get_trial_id,
    get_trial_name as get_trial_name,
    get_trial_resources as get_trial_resources,
    is_session_enabled as is_session_enabled,
    make_checkpoint_dir as make_checkpoint_dir,
    report as report,
    save_checkpoint as save_checkpoint,
    should_checkpoint as should_checkpoint,
)
from .trainable.trainable import (
    ExportFormat as ExportFormat,
    Trainable as Trainable,
)
from .trainable.trial_workers import trial_workers as trial_workers
from .trainable.wrappers import (
    with_parameters as with_parameters,
    with_resources as with_resources,
)
from .tune_run import (
    arun as arun,
    run as run,
    run_experiments as run_experiments,
)
from .tuner import Tuner as Tuner

# Modules, and paths of Ray Tune that have none.
def __getattr__(name: str) -> typing.Any: ...

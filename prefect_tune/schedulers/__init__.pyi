"""Schedulers, which choose the next trial to run and stop or pause trials early."""

from .async_hyperband import (
    ASHAScheduler as ASHAScheduler,
    AsyncHyperBandScheduler as AsyncHyperBandScheduler,
)
from .hb_bohb import HyperBandForBOHB as HyperBandForBOHB
from .hyperband import HyperBandScheduler as HyperBandScheduler
from .median_stopping_rule import MedianStoppingRule as MedianStoppingRule
from .multi_objective_asha import MultiObjectiveASHAScheduler as MultiObjectiveASHAScheduler
from .pb2 import PB2 as PB2
from .pbt import (
    PopulationBasedTraining as PopulationBasedTraining,
    PopulationBasedTrainingReplay as PopulationBasedTrainingReplay,
)
from .promotion_asha import PromotionASHAScheduler as PromotionASHAScheduler
from .registry import SCHEDULERS as SCHEDULERS, create_scheduler as create_scheduler
from .resource_changing_scheduler import (
    DistributeResources as DistributeResources,
    DistributeResourcesToTopJob as DistributeResourcesToTopJob,
    ResourceChangingScheduler as ResourceChangingScheduler,
    evenly_distribute_cpus_gpus as evenly_distribute_cpus_gpus,
)
from .trial_scheduler import FIFOScheduler as FIFOScheduler, TrialScheduler as TrialScheduler

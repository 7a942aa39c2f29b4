"""Search spaces: the possible values of trials' parameters, and how they are drawn."""

from prefect_tune.space.categorical import Categorical, Function, could_be
from prefect_tune.space.domain import Domain
from prefect_tune.space.numeric import Float, Integer
from prefect_tune.space.parameters import (
    choice,
    grid_search,
    lograndint,
    loguniform,
    qlograndint,
    qloguniform,
    qrandint,
    qrandn,
    quniform,
    randint,
    randn,
    sample_from,
    uniform,
)
from prefect_tune.space.random import RandomState
from prefect_tune.space.samplers import Grid, LogUniform, Normal, Quantized, Sampler, Uniform
from prefect_tune.space.search_space import (
    RecursiveDependencyError,
    SearchSpace,
    leaves,
    random_draw,
)
from prefect_tune.space.template import Draw, Variable, is_variable
from prefect_tune.space.variants import (
    Variant,
    VariantPosition,
    VariantStream,
    check_num_samples,
    format_tag,
    generate_variants,
)
from prefect_tune.space.views import ConfigView, SpecView

__all__ = [
    "Categorical",
    "ConfigView",
    "Domain",
    "Draw",
    "Float",
    "Function",
    "Grid",
    "Integer",
    "LogUniform",
    "Normal",
    "Quantized",
    "RandomState",
    "RecursiveDependencyError",
    "Sampler",
    "SearchSpace",
    "SpecView",
    "Uniform",
    "Variable",
    "Variant",
    "VariantPosition",
    "VariantStream",
    "check_num_samples",
    "choice",
    "could_be",
    "format_tag",
    "generate_variants",
    "grid_search",
    "is_variable",
    "leaves",
    "lograndint",
    "loguniform",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "random_draw",
    "sample_from",
    "uniform",
]

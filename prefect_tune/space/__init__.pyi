"""Search spaces: the possible values of trials' parameters, and how they are drawn."""

from .categorical import Categorical as Categorical, Function as Function, could_be as could_be
from .domain import Domain as Domain
from .numeric import Float as Float, Integer as Integer
from .parameters import (
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
from .random import RandomState as RandomState
from .samplers import (
    Grid as Grid,
    LogUniform as LogUniform,
    Normal as Normal,
    Quantized as Quantized,
    Sampler as Sampler,
    Uniform as Uniform,
)
from .search_space import (
    RecursiveDependencyError as RecursiveDependencyError,
    SearchSpace as SearchSpace,
    random_draw as random_draw,
)
from .template import Draw as Draw, Variable as Variable, is_variable as is_variable
from .variants import (
    Variant as Variant,
    VariantPosition as VariantPosition,
    VariantStream as VariantStream,
    check_num_samples as check_num_samples,
    format_tag as format_tag,
    generate_variants as generate_variants,
)
from .views import ConfigView as ConfigView, SpecView as SpecView

"""Search algorithms, which choose the configurations to try."""

from .basic_variant import (
    BasicVariantGenerator as BasicVariantGenerator,
    VariantSource as VariantSource,
)
from .compatibility import (
    SearchAlgorithm as SearchAlgorithm,
    SearchGenerator as SearchGenerator,
    UNDEFINED_METRIC_MODE as UNDEFINED_METRIC_MODE,
    UNDEFINED_SEARCH_SPACE as UNDEFINED_SEARCH_SPACE,
    UNRESOLVED_SEARCH_SPACE as UNRESOLVED_SEARCH_SPACE,
    grid_search as grid_search,
)
from .factory import make_source as make_source
from .optuna import OptunaSearch as OptunaSearch
from .registry import SEARCHERS as SEARCHERS, create_searcher as create_searcher
from .searcher import DEFAULT_METRIC as DEFAULT_METRIC, Searcher as Searcher
from .searcher_source import SearcherSource as SearcherSource
from .source import (
    FINISHED as FINISHED,
    Finished as Finished,
    Suggestion as Suggestion,
    TrialSource as TrialSource,
)
from .wrapper import (
    ConcurrencyLimiter as ConcurrencyLimiter,
    Repeater as Repeater,
    SearcherWrapper as SearcherWrapper,
)

from __future__ import annotations

import re

import pytest

from prefect_tune import space as tune
from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.search import (
    FINISHED,
    BasicVariantGenerator,
    ConcurrencyLimiter,
    OptunaSearch,
    SearchAlgorithm,
    Searcher,
    SearcherSource,
    SearchGenerator,
    Suggestion,
    VariantSource,
    create_searcher,
    make_source,
)
from prefect_tune.space import RecursiveDependencyError


class Scripted(Searcher):
    """Suggests what it is given; takes a space if `takes_space`."""

    def __init__(self, *suggestions, takes_space=True):
        super().__init__()
        self.suggestions = list(suggestions)
        self.takes_space = takes_space
        self.asked = []
        self.completed = []

    def set_search_properties(self, metric, mode, config, **spec):
        self.properties = (metric, mode, config, spec)
        return self.takes_space

    def suggest(self, trial_id):
        self.asked.append(trial_id)
        return self.suggestions.pop(0)

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.completed.append((trial_id, result, error))


def take(source):
    result = []
    while isinstance(suggestion := source.next(), Suggestion):
        result.append(suggestion)
    return result


def test_variants_are_named_and_counted():
    source = make_source(None, {"g": tune.grid_search([1, 2]), "c": 3}, num_samples=2)
    assert source.total() == 4
    assert source.lookahead > 1
    assert not source.wants_results
    trials = take(source)
    assert re.fullmatch(r"[0-9a-f]{5}_00000", trials[0].trial_id)
    assert [trial.trial_id[-5:] for trial in trials] == ["00000", "00001", "00002", "00003"]
    assert [trial.experiment_tag for trial in trials] == ["0_g=1", "1_g=2", "2_g=1", "3_g=2"]
    assert trials[3] == Suggestion(
        trials[3].trial_id, {"g": 2, "c": 3}, {"g": 2}, 3, trials[3].experiment_tag
    )
    assert source.next() is FINISHED


def test_a_seed_decides_ids_and_values():
    space = {"u": tune.uniform(0, 1)}
    first = take(make_source(None, space, 3, seed=1))
    assert take(make_source(None, space, 3, seed=1)) == first
    assert take(make_source(None, space, 3, seed=2)) != first
    assert take(make_source(None, space, 3))[0].trial_id != take(make_source(None, space))[0]


def test_the_generators_own_random_state_comes_first():
    space = {"u": tune.uniform(0, 1)}
    first = take(make_source(BasicVariantGenerator(random_state=5), space, seed=1))
    second = take(make_source(BasicVariantGenerator(random_state=5), space, seed=2))
    assert first[0].config == second[0].config


def test_no_space_means_one_empty_config():
    (trial,) = take(make_source(None, None))
    assert trial.config == {}
    assert trial.experiment_tag == "0"


def test_presets_of_an_interrupted_run_are_not_repeated():
    space = {"a": tune.grid_search([1, 2]), "b": tune.grid_search([1, 2, 3, 4])}
    points = [{"a": 1, "b": 3}, {"a": 2}, {"b": 1}]
    for cut in range(24):
        generator = BasicVariantGenerator(points_to_evaluate=points, random_state=1)
        first = make_source(generator, space, num_samples=5, seed=1)
        assert first.total() == generator.total_samples == 23
        trials = [first.next() for _ in range(cut)]
        trials = [trial for trial in trials if trial is not FINISHED]
        second = make_source(
            BasicVariantGenerator(points_to_evaluate=points, random_state=1), space, 5, seed=1
        )
        second.restore_state(first.save_state())
        trials += take(second)
        assert len({trial.trial_id for trial in trials}) == 23


def test_max_concurrent_of_variants():
    for arguments in (
        {"search_alg": BasicVariantGenerator(max_concurrent=2)},
        {"max_concurrent": 2},
        {"search_alg": BasicVariantGenerator(max_concurrent=2), "max_concurrent": 2},
    ):
        source = make_source(space={"u": tune.uniform(0, 1)}, num_samples=4, **arguments)
        first, second = source.next(), source.next()
        assert source.next() is None
        source.on_trial_complete(first.trial_id)
        assert isinstance(source.next(), Suggestion)
        assert second


def test_max_concurrent_wraps_searchers():
    source = make_source(Scripted({"x": 1}, {"x": 2}), {}, 2, max_concurrent=1)
    assert isinstance(source.searcher, ConcurrencyLimiter)
    assert isinstance(source.next(), Suggestion)
    assert source.next() is None


def test_a_searcher_may_limit_itself():
    class Limiting(Scripted):
        def set_max_concurrency(self, max_concurrent):
            self.limit = max_concurrent
            return True

    source = make_source(Limiting({}), {}, 1, max_concurrent=3)
    assert source.searcher.limit == 3


def test_suggestions_are_merged_into_the_space_and_completed():
    space = {
        "x": tune.uniform(0, 1),
        "n": {"y": tune.uniform(0, 1), "constant": 1},
        "f": tune.sample_from(lambda spec: spec.config.n.y * 2),
    }
    searcher = Scripted({"x": 0.5, "n": {"y": 3}, "__trial_index__": 0})
    source = make_source(searcher, space, 1, metric="m", mode="min", seed=4)
    assert searcher.properties == ("m", "min", space, {"seed": 4, "num_samples": 1})
    trial = source.next()
    assert trial.config == {"x": 0.5, "n": {"y": 3, "constant": 1}, "f": 6, "__trial_index__": 0}
    assert trial.resolved == {"x": 0.5, "n/y": 3, "f": 6, "__trial_index__": 0}
    assert trial.tag_index == 1
    assert re.fullmatch("[0-9a-f]{8}", trial.trial_id)


def test_searchers_with_a_space_of_their_own_get_constants_only():
    source = make_source(Scripted({"x": 1}, takes_space=False), {"data": "d"}, 1)
    trial = source.next()
    assert trial.config == {"data": "d", "x": 1}
    assert trial.resolved == {"x": 1}
    with pytest.raises(InvalidArgument, match=r"`param_space`.*x"):
        make_source(Scripted(takes_space=False), {"x": tune.uniform(0, 1)}, 1)


def test_suggest_is_called_no_more_often_than_needed():
    searcher = Scripted({"x": 1}, None, {"x": 2})
    source = make_source(searcher, {}, num_samples=2)
    assert source.next().config == {"x": 1}
    assert source.next() is None
    assert source.next().config == {"x": 2}
    assert source.next() is FINISHED
    assert len(searcher.asked) == 3
    # The id that got no suggestion is used for the next one.
    assert searcher.asked[1] == searcher.asked[2]


def test_finished_is_final():
    searcher = Scripted({"x": 1}, Searcher.FINISHED)
    source = make_source(searcher, {}, num_samples=-1)
    assert len(take(source)) == 1
    assert source.next() is FINISHED
    assert len(searcher.asked) == 2


def test_wrong_suggestions_are_an_error():
    source = make_source(Scripted([1, 2]), {}, 1)
    with pytest.raises(TuneError, match=r"Scripted\.suggest.*list"):
        source.next()


def test_completion_is_told_once_and_only_of_known_trials():
    searcher = Scripted({"x": 1})
    source = make_source(searcher, {}, 1)
    trial = source.next()
    source.on_trial_complete("unknown")
    source.on_trial_complete(trial.trial_id, {"score": 1}, error=True)
    source.on_trial_complete(trial.trial_id, {"score": 1})
    assert searcher.completed == [(trial.trial_id, {"score": 1}, True)]


def test_custom_save_and_restore_are_used():
    class Saving(Scripted):
        def save(self, checkpoint_path):
            with open(checkpoint_path, "w") as file:
                file.write(str(len(self.asked)))

        def restore(self, checkpoint_path):
            with open(checkpoint_path) as file:
                self.restored = int(file.read())

    first = make_source(Saving({"x": 1}), {}, 2)
    first.next()
    second = make_source(Saving({"x": 2}), {}, 2)
    second.restore_state(first.save_state())
    assert second.searcher.restored == 1
    assert len(take(second)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": -2}, "`num_samples`"),
        ({"num_samples": 0}, "`num_samples`"),
        ({"num_samples": 2.0}, "`num_samples`"),
        ({"mode": "maximum"}, "`mode`"),
        ({"metric": 3}, "`metric`"),
        ({"space": [1]}, "`param_space`"),
        ({"space": "lr"}, "`param_space`"),
        ({"max_concurrent": -1}, "`max_concurrent_trials`"),
        ({"max_concurrent": 1.5}, "`max_concurrent_trials`"),
        ({"search_alg": "optunna"}, r"`search_alg`.*optunna.*random, variant_generator, optuna"),
        ({"search_alg": 3}, "`search_alg`"),
        ({"search_alg": SearchAlgorithm()}, r"`search_alg`.*Searcher"),
        (
            {"search_alg": BasicVariantGenerator(max_concurrent=2), "max_concurrent": 3},
            "`max_concurrent_trials`",
        ),
        (
            {"search_alg": ConcurrencyLimiter(Scripted(), 2), "max_concurrent": 3},
            "`max_concurrent_trials`",
        ),
        (
            {"search_alg": Scripted(), "space": {"a": [{"g": tune.grid_search([1])}]}},
            r"`param_space`.*'a/0/g'",
        ),
        (
            {
                "search_alg": Scripted(),
                "space": {"a": tune.choice([{"g": tune.grid_search([1])}])},
            },
            r"`param_space`.*'a/g'",
        ),
        (
            {"search_alg": BasicVariantGenerator(points_to_evaluate=[{"y": 1}])},
            "`points_to_evaluate`",
        ),
    ],
)
def test_wrong_arguments_are_named_before_any_trial(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        make_source(**{"space": {"x": tune.uniform(0, 1)}, **arguments})


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_concurrent": -1},
        {"max_concurrent": "2"},
        {"points_to_evaluate": {"a": 1}},
    ],
)
def test_wrong_arguments_of_the_variant_generator(arguments):
    with pytest.raises(InvalidArgument, match=f"`{next(iter(arguments))}`"):
        BasicVariantGenerator(**arguments)


def test_circular_spaces_are_found_before_any_trial():
    with pytest.raises(RecursiveDependencyError):
        make_source(None, {"a": tune.sample_from(lambda spec: spec.config.a)})


def test_algorithms_by_name():
    assert isinstance(create_searcher("random", metric="m", random_state=3), BasicVariantGenerator)
    searcher = create_searcher("optuna", metric="m", mode="min", unknown=1)
    assert isinstance(searcher, OptunaSearch)
    assert searcher.metric == "m"
    with pytest.raises(ValueError, match=r"hebo is not in.*HEBOSearch is retired: .*`AxSearch`"):
        create_searcher("hebo")
    with pytest.raises(ValueError, match=r"there is no 'nonsense'.*optuna"):
        create_searcher("nonsense")
    assert isinstance(make_source("random"), VariantSource)
    source = make_source("optuna", {"x": tune.uniform(0, 1)}, metric="m", mode="min")
    assert isinstance(source, SearcherSource)


def test_search_generator_stands_for_its_searcher():
    searcher = Scripted({"x": 1})
    source = make_source(SearchGenerator(searcher), {}, 1)
    assert source.searcher is searcher
    assert SearchGenerator(Searcher("m", "max")).metric == "m"
    with pytest.raises(InvalidArgument, match="`searcher`"):
        SearchGenerator("optuna")

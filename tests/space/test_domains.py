from __future__ import annotations

import math
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune import space as tune
from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.space import (
    Categorical,
    Domain,
    Float,
    Grid,
    Integer,
    LogUniform,
    Quantized,
    Sampler,
    Uniform,
)

finite = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e6)
seeds = st.integers(0, 2**32 - 1)


class AlmostOne(Sampler):
    """Draws the last value of the domain, as a uniform number close to 1 does."""

    def quantile(self, domain: Domain):
        inner = Uniform().quantile(domain)
        return lambda u: inner(1 - 2**-53)


@given(finite, finite, seeds)
def test_uniform_stays_in_bounds(a, b, seed):
    lower, upper = sorted((a, b))
    domain = tune.uniform(lower, upper)
    values = domain.sample(size=20, random_state=seed)
    assert all(lower <= value <= upper and isinstance(value, float) for value in values)
    assert all(map(domain.is_valid, values))


@given(positive, positive, seeds)
def test_loguniform_stays_in_bounds(a, b, seed):
    lower, upper = sorted((a, b))
    domain = tune.loguniform(lower, upper)
    assert all(map(domain.is_valid, domain.sample(size=20, random_state=seed)))


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6), seeds)
def test_randint_excludes_upper(lower, width, seed):
    domain = tune.randint(lower, lower + width)
    values = domain.sample(size=20, random_state=seed)
    assert all(lower <= value < lower + width and isinstance(value, int) for value in values)
    assert not domain.is_valid(lower + width)


@given(st.integers(1, 10**6), st.integers(1, 10**6), seeds)
def test_lograndint_excludes_upper(lower, width, seed):
    domain = tune.lograndint(lower, lower + width)
    values = domain.sample(size=20, random_state=seed)
    assert all(lower <= value < lower + width for value in values)


@given(
    st.integers(-50, 50), st.integers(1, 50), st.sampled_from([0.1, 0.25, 1, 2, 1 / 3, 1e-5]), seeds
)
def test_quniform_gives_multiples_in_bounds(first, steps, q, seed):
    domain = tune.quniform(first * q, (first + steps) * q, q)
    for value in domain.sample(size=20, random_state=seed):
        assert math.isclose(value / q, round(value / q), abs_tol=1e-6)
        assert domain.lower <= value <= domain.upper
        assert domain.is_valid(value)


@given(st.integers(-100, 100), st.integers(2, 100), st.integers(2, 9), st.booleans(), seeds)
def test_quantized_integers_are_multiples_between_the_bounds(lower, width, q, log, seed):
    if log:
        lower = abs(lower) + 1
    upper = lower + width + q
    domain = (tune.qlograndint if log else tune.qrandint)(lower, upper, q)
    for value in domain.sample(size=20, random_state=seed):
        assert value % q == 0
        assert lower <= value <= upper
        assert domain.is_valid(value)


def test_upper_end_is_included_only_when_quantized():
    assert set(tune.qrandint(0, 10, 5).sample(size=500, random_state=0)) == {0, 5, 10}
    assert set(tune.qlograndint(1, 8, 4).sample(size=500, random_state=0)) == {4, 8}
    assert set(tune.qrandint(0, 3).sample(size=500, random_state=0)) == {0, 1, 2}
    assert set(tune.randint(0, 3).sample(size=500, random_state=0)) == {0, 1, 2}
    assert set(tune.quniform(0, 0.3, 0.1).sample(size=500, random_state=0)) == {0, 0.1, 0.2, 0.3}


def test_quantized_integers_are_equally_likely():
    counts = Counter(tune.qrandint(0, 10, 5).sample(size=9000, random_state=1))
    assert all(2700 < count < 3300 for count in counts.values())


@pytest.mark.parametrize(
    "domain",
    [
        tune.uniform(1, 3),
        tune.loguniform(0.5, 3),
        tune.randint(1, 4),
        tune.lograndint(1, 4),
        tune.choice(["abc"]),
    ],
)
def test_the_largest_uniform_number_gives_a_valid_value(domain):
    assert domain.is_valid(domain.quantile()(1 - 2**-53))
    assert domain.is_valid(domain.quantile()(0.0))


def test_distributions():
    size = 20_000
    log = np.log10(tune.loguniform(1e-4, 1).sample(size=size, random_state=0))
    assert np.allclose(np.quantile(log, [0.25, 0.5, 0.75]), [-3, -2, -1], atol=0.1)
    normal = tune.randn(10, 2).sample(size=size, random_state=0)
    assert abs(np.mean(normal) - 10) < 0.1
    assert abs(np.std(normal) - 2) < 0.1
    uniform = tune.uniform(-1, 1).sample(size=size, random_state=0)
    assert abs(np.mean(uniform)) < 0.03
    counts = Counter(tune.choice(["a", "b"]).sample(size=size, random_state=0))
    assert abs(counts["a"] - size / 2) < 400
    logints = tune.lograndint(1, 1000).sample(size=size, random_state=0)
    assert abs(np.median(logints) - 31) < 4


def test_qrandn_rounds():
    values = tune.qrandn(0, 10, 0.5).sample(size=100, random_state=0)
    assert all(value * 2 == round(value * 2) for value in values)


@pytest.mark.parametrize(
    "make", [lambda: 5, lambda: np.random.RandomState(5), lambda: np.random.default_rng(5)]
)
def test_same_random_state_same_values(make):
    domain = tune.loguniform(1e-3, 1)
    first = domain.sample(size=5, random_state=make())
    assert domain.sample(size=5, random_state=make()) == first


def test_without_random_state_numpy_seed_decides():
    np.random.seed(3)
    first = tune.uniform(0, 1).sample(size=3)
    np.random.seed(3)
    assert tune.uniform(0, 1).sample(size=3) == first


def test_sample_gives_one_value_or_a_list():
    assert isinstance(tune.uniform(0, 1).sample(), float)
    assert len(tune.uniform(0, 1).sample(size=2)) == 2
    with pytest.raises(InvalidArgument, match="size"):
        tune.uniform(0, 1).sample(size=0)


def test_uniform_with_one_argument_is_an_upper_bound():
    domain = tune.uniform(100)
    assert (domain.lower, domain.upper) == (0, 100)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: tune.uniform(1, 0), "lower"),
        (lambda: tune.uniform(-3), "upper"),
        (lambda: tune.uniform("a", 1), "lower"),
        (lambda: tune.uniform(0, float("nan")), "upper"),
        (lambda: tune.uniform(0, float("inf")), "upper"),
        (lambda: tune.loguniform(0, 1), "lower"),
        (lambda: tune.loguniform(1, 10, base=1), "base"),
        (lambda: tune.quniform(0, 1, 0.3), "upper"),
        (lambda: tune.quniform(0, 1, 0), "q"),
        (lambda: tune.quniform(0, 1, -1), "q"),
        (lambda: tune.randint(5, 5), "lower"),
        (lambda: tune.randint(0, 2.5), "upper"),
        (lambda: tune.randint(0, float("inf")), "upper"),
        (lambda: tune.lograndint(0, 5), "lower"),
        (lambda: tune.qrandint(1, 3, 4), "q"),
        (lambda: tune.qrandint(1, 3, 0), "q"),
        (lambda: tune.randn(0, 0), "sd"),
        (lambda: tune.choice([]), "categories"),
        (lambda: tune.choice(""), "categories"),
        (lambda: tune.sample_from(lambda one, two: 1), "func"),
        (lambda: tune.choice(3), "categories"),
        (lambda: tune.grid_search([]), "grid_search"),
        (lambda: tune.sample_from(3), "func"),
        (lambda: tune.uniform(0, 1).sample(random_state="x"), "random_state"),
        (lambda: tune.uniform(0, 1).sample(random_state=-1), "random_state"),
    ],
)
def test_wrong_arguments_are_named(make, names):
    with pytest.raises(InvalidArgument, match=f"`{names}") as caught:
        make()
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TuneError)


def test_only_uniform_takes_a_single_bound():
    with pytest.raises(TypeError, match="upper"):
        tune.loguniform(100)


def test_sampler_methods():
    domain = Float(0, 1)
    assert isinstance(domain.get_sampler(), Uniform)
    quantized = domain.uniform().quantized(0.5)
    assert isinstance(quantized.get_sampler(), Quantized)
    assert quantized.has_sampler(Uniform)
    assert not quantized.has_sampler(LogUniform)
    assert domain.sampler is None
    with pytest.raises(ValueError, match="allow_override"):
        quantized.set_sampler(Uniform())
    domain.set_sampler(AlmostOne())
    assert domain.sample() == pytest.approx(1)
    assert Categorical([1]).grid().is_grid()
    assert Categorical([1]).grid().has_sampler(Grid)
    with pytest.raises(ValueError, match="grid"):
        Categorical([1]).grid().sample()


def test_what_a_domain_cannot_be():
    with pytest.raises(ValueError, match="bounds"):
        Float(0, 1).normal()
    with pytest.raises(ValueError, match="finite"):
        Float().uniform()


def test_cast_and_words():
    assert Float(0, 1).cast("0.5") == 0.5
    assert Integer(0, 9).cast(3.7) == 3
    assert tune.uniform(0, 1).domain_str == "(0, 1)"
    assert tune.randint(0, 3).domain_str == "(0, 3)"
    assert "relu" in tune.choice(["relu"]).domain_str
    assert tune.sample_from(lambda spec: 1).is_function()
    assert tune.sample_from(lambda spec: 1).is_valid(object())
    assert len(tune.choice([1, 2])) == 2
    assert tune.choice([1, 2])[1] == 2


def test_is_valid():
    assert not tune.uniform(0, 1).is_valid("a")
    assert not tune.uniform(0, 1).is_valid(True)
    assert tune.uniform(0, 1).is_valid(np.float32(0.5))
    assert not tune.randint(0, 5).is_valid(1.5)
    assert tune.randint(0, 5).is_valid(np.int64(4))
    assert not tune.qrandint(0, 10, 5).is_valid(4)
    assert not tune.choice([1, 2]).is_valid(3)
    nested = tune.choice([{"kind": "sgd", "lr": tune.uniform(0, 1)}, [1, 2]])
    assert nested.is_valid({"kind": "sgd", "lr": 0.5})
    assert not nested.is_valid({"kind": "sgd", "lr": 5.0})
    assert not nested.is_valid({"kind": "sgd"})
    assert nested.is_valid([1, 2])


def test_function_is_called_with_the_config_or_without():
    assert tune.sample_from(lambda spec: spec["x"]).sample({"x": 3}) == 3
    assert tune.sample_from(lambda: 4).sample({"x": 3}) == 4
    assert tune.sample_from(lambda: 4).sample(size=2) == [4, 4]
    assert tune.sample_from(len).sample([1, 2]) == 2


def test_domains_can_be_pickled():
    for domain in (tune.qloguniform(1, 10, 1), tune.choice([1, 2]), tune.randn()):
        again = pickle.loads(pickle.dumps(domain))
        assert again.sample(random_state=1) == domain.sample(random_state=1)


def test_a_string_is_a_choice_of_its_letters():
    assert tune.choice("abc").categories == ["a", "b", "c"]


def test_a_whole_step_makes_no_ints_of_floats():
    for domain in (tune.quniform(0, 10, 2), tune.qrandn(3, 1, 1), tune.qloguniform(1, 100, 1)):
        assert type(domain.sample()) is float

"""The points of a space as scripts for Ray Tune walk through them."""

import prefect_tune as tune
from prefect_tune.search.compatibility import generate_variants
from prefect_tune.suggest import variant_generator as of_ray_1


def test_points_come_with_the_values_of_their_variables_by_path():
    space = {
        "a": tune.grid_search([1, 2]),
        "b": {"c": [tune.choice([3]), 5]},
        "m/n": tune.choice([{"deep": tune.choice([7])}]),
    }
    points = list(generate_variants(space))
    assert [config for _, config in points] == [
        {"a": a, "b": {"c": [3, 5]}, "m/n": {"deep": 7}} for a in (1, 2)
    ]
    assert [resolved[("a",)] for resolved, _ in points] == [1, 2]
    assert points[0][0][("b", "c", 0)] == 3
    assert points[0][0][("m/n", "deep")] == 7
    assert of_ray_1.generate_variants is generate_variants


def test_constant_domains_and_seeds():
    space = {"a": tune.grid_search([1, 2]), "b": tune.uniform(0, 1)}
    (first, second) = (config["b"] for _, config in generate_variants(space, True, 3))
    assert first == second
    assert [config["b"] for _, config in generate_variants(space, True, 3)] == [first, first]
    assert len({config["b"] for _, config in generate_variants(space, random_state=3)}) == 2

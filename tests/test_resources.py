"""What a trial asks for."""

import pickle

import pytest

from prefect_tune.error import InvalidArgument
from prefect_tune.resources import PlacementGroupFactory, Resources, show_amount


def test_several_bundles_are_their_sum_and_know_themselves():
    factory = PlacementGroupFactory([{"CPU": 1}, {"cpu": 2, "GPU": 0.5}], "SPREAD")
    request = Resources.parse(factory)
    assert dict(request) == {"CPU": 3.0, "GPU": 0.5}
    assert [dict(bundle) for bundle in request.bundles] == [{"CPU": 1}, {"CPU": 2, "GPU": 0.5}]
    assert request == Resources.parse(request.factory) == pickle.loads(pickle.dumps(request))
    assert request != Resources.parse({"cpu": 3, "gpu": 0.5})
    assert len({request, Resources.parse(factory)}) == 1
    assert str(request) == "SPREAD of 1 x (1 CPU); 1 x (2 CPU, 0.5 GPU)"


def test_one_bundle_is_a_plain_request():
    request = Resources.parse(PlacementGroupFactory([{"CPU": 0.5}]))
    assert request == Resources.of(CPU=0.5)
    assert request.bundles == (request,)
    assert request.factory == PlacementGroupFactory([{"CPU": 0.5}])


def test_the_head_may_be_empty():
    request = Resources.parse(PlacementGroupFactory([{}, {"CPU": 2}]))
    assert request.bundles == (Resources(), Resources.of(CPU=2))


@pytest.mark.parametrize(
    ("bundles", "strategy", "argument"),
    [
        ([], "PACK", "bundles"),
        ([{"CPU": 1}], "SCATTER", "strategy"),
        ([{"GPU": 1}, {"CPU": 1}], "PACK", "bundles.*runs the trial.*no CPU"),
        ([{"CPU": -1}], "PACK", r'bundles\[0\]\["CPU"\]'),
        ([{"CPU": 1}, {}], "PACK", r"bundles\[1\]"),
        ([{"CPU": 1}, {"CPU": -1}], "PACK", r'bundles\[1\]\["CPU"\]'),
        ([{"CPU": 1}, {"CPU": float("nan")}], "PACK", r'bundles\[1\]\["CPU"\]'),
    ],
)
def test_wrong_bundles_are_told_about_at_once(bundles, strategy, argument):
    with pytest.raises(InvalidArgument, match=argument):
        PlacementGroupFactory(bundles, strategy)


def test_amounts_are_shown_in_their_units():
    request = Resources.parse({"cpu": 0.5, "memory": 2.5e9, "accelerator_type:A100": 0.001})
    assert str(request) == "0.5 CPU, 0.001 accelerator_type:A100, 2.5 GB memory"
    assert show_amount("CPU", 500, 2000) == "0.5 of 2 CPU"
    assert show_amount("memory", 3 * 10**11, 8 * 10**12, between="/") == "0.3/8 GB memory"

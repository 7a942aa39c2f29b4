"""Saved states of a search: the latest whole one of the run."""

from prefect_tune.search.search_state import SearchState, SearchStates

START = SearchState(0, 0, b"start\n\x00")
FIRST = SearchState(3, 1, b"first")
SECOND = SearchState(7, 5, b"second")


def test_the_latest_state_counts(tmp_path):
    states = SearchStates(tmp_path, "run")
    assert states.load() is None
    for state in (START, FIRST, SECOND):
        states.save(state)
        assert SearchStates(tmp_path, "run").load() == state


def test_states_of_another_run_are_not_looked_at(tmp_path):
    SearchStates(tmp_path, "other").save(SECOND)
    states = SearchStates(tmp_path, "run")
    assert states.load() is None
    states.save(START)
    assert states.load() == START


def test_a_damaged_state_gives_way_to_the_start(tmp_path):
    states = SearchStates(tmp_path, "run")
    states.save(START)
    states.save(SECOND)
    path = tmp_path / "search_latest.state"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert states.load() == START


def test_the_latest_state_can_be_dropped(tmp_path):
    states = SearchStates(tmp_path, "run")
    states.save(START)
    states.save(FIRST)
    states.delete_latest()
    states.delete_latest()
    assert states.load() == START

"""Filters by tags, asked by number."""

from hypothesis import given
from hypothesis import strategies as st

from tracker.live.kinds import Kinds

some_tags = st.one_of(st.none(), st.sets(st.sampled_from("abc")).map(frozenset))


@given(st.lists(st.tuples(st.integers(0, 4), some_tags)), st.sets(st.sampled_from("abcd")).map(frozenset))
def test_a_filter_admits_who_has_one_of_its_tags_now(
    changes: list[tuple[int, frozenset[str] | None]], wanted: frozenset[str]
) -> None:
    kinds, now = Kinds(), dict[int, frozenset[str]]()
    kinds.reserve(5)
    for asset, tags in changes:
        kinds.put(asset, tags)
        now.pop(asset, None)
        if tags is not None:
            now[asset] = tags
        kinds.admitted(frozenset())
    admitted = kinds.admitted(wanted)[kinds.of]
    assert admitted.tolist() == [asset in now and (not wanted or bool(now[asset] & wanted)) for asset in range(5)]
    assert len(kinds.admitted(wanted)) <= 7  # numbers of sets that nobody has are used again


def test_tags_that_come_and_go_take_no_room() -> None:
    kinds = Kinds()
    for number in range(100):
        kinds.put(0, frozenset({str(number)}))
    assert len(kinds.admitted(frozenset())) <= 3

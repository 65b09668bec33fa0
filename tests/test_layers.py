"""The rooms of the house: who may import whom is written in pyproject.toml, and kept."""

import logging

import pytest
from importlinter.cli import lint_imports


def test_imports_go_downwards_only(capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(no_cache=True)
    for logger in logging.root.manager.loggerDict.values():  # the linter's own set-up has disabled all that were there
        if isinstance(logger, logging.Logger):
            logger.disabled = False
    assert status == 0, capsys.readouterr().out

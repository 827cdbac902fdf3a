"""Drills print what they counted when all have ended."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.drills.support import DONE, HEADINGS


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Not a line for every request: what a drill prints is read by people."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    yield
    structlog.reset_defaults()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if DONE:
        table = [HEADINGS, *(line.cells() for line in DONE)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        terminalreporter.section("drills")
        for cells in table:
            terminalreporter.write_line(
                cells[0].ljust(widths[0])
                + "".join(cell.rjust(width + 2) for cell, width in zip(cells[1:], widths[1:], strict=True))
            )

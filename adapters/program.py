"""What a person has to type for `hub`."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote
from shutil import which


def program() -> str:
    """What to type for `hub` here: that, where it is on the PATH, else the way to this very one."""
    script = Path(sys.executable).with_name("hub")
    if not script.exists():
        return f"{_typed(Path(sys.executable))} -m hub"
    found = which("hub")
    return "hub" if found and Path(found).samefile(script) else _typed(script)


def _typed(path: Path) -> str:
    here = Path.cwd()
    return quote(str(path.relative_to(here) if path.is_relative_to(here) else path))

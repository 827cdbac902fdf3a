"""Every figure the README claims, each against its yardstick in the same run.

python -m bench                 all of them; some forty minutes, ten of them under a held snapshot
python -m bench --quick         the same measurements, smaller
python -m bench pipeline merge  only these
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence

from bench import appends, bulk, feed, http, merge, pipeline, read_side, segment, under_load
from bench.support import Figure, show

ALL: dict[str, Callable[[], Sequence[Figure]]] = {
    "appends": appends.figures,
    "bulk": bulk.figures,
    "pipeline": pipeline.figures,
    "read_side": read_side.figures,
    "merge": merge.figures,
    "http": http.figures,
    "segment": segment.figures,
    "under_load": under_load.figures,
    "feed": feed.figures,
}
QUICK: dict[str, Callable[[], Sequence[Figure]]] = {
    "appends": lambda: appends.figures(held_minutes=0.2),
    "bulk": lambda: bulk.figures(200_000),
    "pipeline": pipeline.figures,
    "read_side": lambda: read_side.figures(60_000, 6_000),
    "merge": lambda: merge.figures(100_000),
    "http": http.figures,
    "segment": segment.figures,
    "under_load": lambda: under_load.figures(10, 100_000, 100_000),
    "feed": lambda: feed.figures(10_000, 10),
}


def main(asked: Sequence[str]) -> None:
    measurements = QUICK if "--quick" in asked else ALL
    names = [name for name in asked if name != "--quick"] or list(measurements)
    if unknown := [name for name in names if name not in measurements]:
        sys.exit(f"no such measurement: {', '.join(unknown)}; there are {', '.join(measurements)}")
    gc.set_threshold(100_000, 50, 50)  # As the hub's own processes do.
    show([each for name in names for each in measurements[name]()])


if __name__ == "__main__":
    main(sys.argv[1:])

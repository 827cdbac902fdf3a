"""`python -m hub` and the `hub` command."""

from __future__ import annotations


def main() -> None:
    from hub.wiring import main as run

    run()


if __name__ == "__main__":
    main()

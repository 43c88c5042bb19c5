"""What the program's owner is told and nobody else: through `logging`, under the name `penstock`."""

from __future__ import annotations

__all__ = ["warn"]


def warn(text: str, *facts: object, error: BaseException | None = None) -> None:
    """Log a line. With an *error* its traceback goes along, to those who have set up logging and to no terminal."""
    import logging  # an eighth of what importing the package costs, for the few who have something to be told

    logger = logging.getLogger("penstock")
    if error is None or logger.hasHandlers():
        logger.warning(text, *facts, exc_info=error)

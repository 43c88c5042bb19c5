"""Writes a file in one step: whoever reads it sees the old text or the new one, and never a half."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["replace_file"]


def replace_file(file: Path, data: bytes, *, mode: int | None = None) -> None:
    """Put *data* in place of what *file* holds. Raises OSError, and then the file is as it was.

    mode: of the file from now on; None for what it has. A new one is readable for its owner only: it may hold a key.
    """
    import tempfile  # for those who write

    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        if mode is not None:
            temporary.chmod(mode)
        elif file.exists():
            temporary.chmod(file.stat().st_mode & 0o777)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

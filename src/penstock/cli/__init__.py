"""The command line's room."""

import time
from typing import Final

BEGAN: Final = time.monotonic()
"""When this process began, by that clock, but for the hundredths of a second that Python itself takes."""

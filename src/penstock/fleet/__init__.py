"""More than one process or one sitting: limits that a fleet shares, many prompts, batches at half the price.

async for result in gather(open_provider("haiku"), jobs, concurrency=50, journal="jobs.db"):
    ...
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass
else:
    from penstock.core.public_names import import_late

    __all__, __getattr__, __dir__ = import_late(__name__, {})

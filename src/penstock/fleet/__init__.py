"""More than one process or one sitting: limits that a fleet shares, many prompts, batches at half the price.

async for result in gather(open_provider("haiku"), jobs, concurrency=50, journal="jobs.db"):
    ...
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.fleet.batch_cancelling import cancel_batches as cancel_batches
    from penstock.fleet.batching import batch as batch
    from penstock.fleet.gathering import gather as gather
    from penstock.fleet.jobs import Job as Job
    from penstock.fleet.jobs import JobResult as JobResult
    from penstock.fleet.jobs import Progress as Progress
    from penstock.fleet.redis_store import RedisStore as RedisStore
else:
    from penstock.core.public_names import import_late

    __all__, __getattr__, __dir__ = import_late(
        __name__,
        {
            "batch_cancelling": ("cancel_batches",),
            "batching": ("batch",),
            "gathering": ("gather",),
            "jobs": ("Job", "JobResult", "Progress"),
            "redis_store": ("RedisStore",),
        },
    )

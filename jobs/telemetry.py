"""What any job may count or time; the daemon tells it at `/metrics`."""

from prometheus_client import Histogram

STEP_SECONDS = Histogram(
    "stockbatch_step_seconds",
    "Wall time of the steps that succeeded in this process.",
    ["calendar", "step"],
    registry=None,
    buckets=(1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600),
)

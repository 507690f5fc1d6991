"""What can be set of Yahoo Finance."""

from pydantic import Field

from stockbatch.providers.base import ProviderSettings


class YahooSettings(ProviderSettings):
    """Yahoo Finance, which refuses whoever asks too fast."""

    requests_per_second: float = Field(1.0, gt=0, le=100, description="requests to Yahoo a second")
    patience_minutes: float = Field(
        60.0,
        ge=0,
        description="minutes to wait in all while Yahoo refuses, then the rest is given up",
    )

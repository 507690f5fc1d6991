"""What can be set of Alpha Vantage."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from stockbatch.providers.base import ProviderSettings


class AlphaVantageSettings(ProviderSettings):
    """Alpha Vantage, which answers whoever has a key."""

    key: SecretStr | None = Field(None, description="key of Alpha Vantage", examples=["YOURKEY"])
    key_file: Path | None = Field(
        None,
        description="file that holds the key of Alpha Vantage instead",
        examples=["/run/secrets/alpha_vantage_key"],
    )
    premium: bool = Field(
        False, description="that key is a premium one: whole history, splits and dividends"
    )
    requests_per_second: float = Field(
        0.8, gt=0, le=100, description="requests to Alpha Vantage a second"
    )
    requests_per_day: int = Field(
        25, ge=0, description="requests to Alpha Vantage a day; 0: no limit"
    )

    @field_validator("key_file", mode="after")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path and path.expanduser().absolute()

"""Settings: what there is to set, and where it is set. Only this package reads the environment."""

from stockbatch.config.process import child_environment, environment, user
from stockbatch.config.schema import PREFIX, ExchangeSettings, ModelSettings, Settings
from stockbatch.config.service_manager import ServiceManager, service_manager
from stockbatch.config.sources import load, problems, secrets

__all__ = [
    "PREFIX",
    "ExchangeSettings",
    "ModelSettings",
    "ServiceManager",
    "Settings",
    "child_environment",
    "environment",
    "load",
    "problems",
    "secrets",
    "service_manager",
    "user",
]

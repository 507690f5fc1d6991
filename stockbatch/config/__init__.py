"""Settings: what there is to set, and where it is set. Only this package reads the environment."""

from stockbatch.config.address import LOOPBACK, Address
from stockbatch.config.problems import in_words
from stockbatch.config.process import (
    child_environment,
    choose_keras,
    choose_mlflow,
    environment,
    user,
)
from stockbatch.config.schema import (
    PREFIX,
    ExchangeSettings,
    ModelSettings,
    ProviderModels,
    Settings,
)
from stockbatch.config.service_manager import ServiceManager, service_manager
from stockbatch.config.sources import load, problems, secrets

__all__ = [
    "LOOPBACK",
    "PREFIX",
    "Address",
    "ExchangeSettings",
    "ModelSettings",
    "ProviderModels",
    "ServiceManager",
    "Settings",
    "child_environment",
    "choose_keras",
    "choose_mlflow",
    "environment",
    "in_words",
    "load",
    "problems",
    "secrets",
    "service_manager",
    "user",
]

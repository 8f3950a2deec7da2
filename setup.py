"Pass what settings.ini says about the package on to setuptools; the rest is in pyproject.toml."
from configparser import ConfigParser

from setuptools import find_packages, setup

settings = ConfigParser()
settings.read("settings.ini", encoding="utf-8")
wants = {key: value.split("\n") for key, value in settings["DEFAULT"].items() if key.endswith("requirements")}
wants = {key: [line.strip() for line in lines if line.strip()] for key, lines in wants.items()}

setup(
    description=settings["DEFAULT"]["description"],
    packages=find_packages(include=["sonic", "sonic.*"]),
    install_requires=wants.pop("requirements"),
    extras_require={key.removesuffix("_requirements"): lines for key, lines in wants.items()},
)

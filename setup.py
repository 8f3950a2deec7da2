"What pyproject.toml leaves open: what settings.ini says about the package, and README.md with links that work elsewhere."
import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

settings = ConfigParser()
settings.read("settings.ini", encoding="utf-8")
wants = {key: value.split("\n") for key, value in settings["DEFAULT"].items() if key.endswith("requirements")}
wants = {key: [line.strip() for line in lines if line.strip()] for key, lines in wants.items()}

# An index of packages shows README.md, but none of the files that it links to: those are in the repository, at this version
version = re.search(r'__version__ = "(.+)"', Path("sonic/__init__.py").read_text(encoding="utf-8"))[1]
repository = "ArielBubis/sound_visualisation_for_music_recSys"
shown = f"https://raw.githubusercontent.com/{repository}/v{version}/"
read = f"https://github.com/{repository}/blob/v{version}/"


def elsewhere(link):
    return link[1] + (shown if link[2].endswith((".gif", ".jpg", ".png", ".svg")) else read) + link[2]


readme = Path("README.md").read_text(encoding="utf-8")
readme = re.sub(r"""(\]\(|\b(?:src|href)=["'])(?![a-z]+:|#)([^)"'\s]+)""", elsewhere, readme)

setup(
    description=settings["DEFAULT"]["description"],
    long_description=readme,
    long_description_content_type="text/markdown",
    packages=find_packages(include=["sonic", "sonic.*"]),
    install_requires=wants.pop("requirements"),
    extras_require={key.removesuffix("_requirements"): lines for key, lines in wants.items()},
)

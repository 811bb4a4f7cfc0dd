"""Package discovery, which pyproject.toml cannot express: a found tree plus one mapped folder."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["vidsr", "vidsr.*"]), "vidsr.engines"],
    package_dir={"vidsr.engines": "engines"},
)

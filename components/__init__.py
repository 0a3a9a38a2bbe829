"""Darkroom: stages, recipes and models; importable without Prefect."""

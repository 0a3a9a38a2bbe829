"""Serve an exported ACVAE-VC."""

from __future__ import annotations

from ...translation.served import Labelled


class Served(Labelled):
    """The export in a folder: translation of pictures into any voice."""

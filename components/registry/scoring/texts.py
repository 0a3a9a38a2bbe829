"""``POST /embed``: texts to vectors, {"texts": [...]} -> {"embeddings": [[...]], "cut": [...]}, by a model that reads texts.

``cut``: which of the texts were longer than the model's context. The vectors of pictures are in the answer of ``/predict``.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from components.registry.scoring.requests import limited_body

MAX_TEXTS = 1024  # per request
MAX_BYTES = 10_000_000  # of a request


class Embed:
    """The endpoint ``answer``. ``served``: a model, which must have ``embed_text``."""

    def __init__(self, served: Any):
        self.served = served

    async def answer(self, request: Request) -> JSONResponse:
        """Answer with the vectors, or {"error"} with status 400."""
        try:
            texts = parse(await limited_body(request, MAX_BYTES))
            if not hasattr(self.served, "embed_text"):
                raise ValueError("this model reads no texts")
            vectors, cut = await asyncio.to_thread(lambda: (self.served.embed_text(texts), self.served.cut(texts)))
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"embeddings": vectors.tolist(), "cut": cut.tolist()})


def parse(body: bytes) -> list[str]:
    """Parse the request; ValueError for anything but a list of 1 to ``MAX_TEXTS`` texts."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    texts = content.get("texts") if isinstance(content, dict) and set(content) == {"texts"} else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts) or not 1 <= len(texts) <= MAX_TEXTS:
        raise ValueError(f'{{"texts": [...]}} with 1 to {MAX_TEXTS:,} texts is expected')
    return texts

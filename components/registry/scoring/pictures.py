"""``POST /predict``: pictures as people have them, as a form (``image``, several files) or as the body of the request.

A picture may have any size and any format that the training could read. The content decides the format, the decoding is that of
the training, shipped with the model. Other fields of the form or of the address are the model's further inputs and parameters.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import numpy as np
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse

from components.serving.answers import answers

MAX_PICTURES = 64  # per request
MEGABYTES = 128  # of a request; DARKROOM_MAX_REQUEST_MB changes it
FIELD = "image"

Pictures = list[tuple[str, bytes]]  # name, encoded picture


class Refused(Exception):
    """An invalid request: HTTP status and the reason."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


class Predict:
    """The endpoint ``answer``. ``served``: a model that decodes pictures; ``signature``: its inputs and parameters."""

    def __init__(self, served: Any, signature: Mapping[str, Any]):
        self.served, self.signature = served, signature
        self.max_bytes = int(os.environ.get("DARKROOM_MAX_REQUEST_MB") or MEGABYTES) * 1_000_000

    async def answer(self, request: Request) -> JSONResponse:
        """Answer {"predictions": [{"file", ...}]}, or {"error"} with status 400, 413 or 415."""
        try:
            if "preparation" not in self.served.facts or not hasattr(self.served, "decode"):
                raise Refused(400, "this version takes arrays only, at /invocations: it holds no preparation of pictures")
            pictures, fields = await self._read(request)
            rows = await asyncio.to_thread(self.predict, pictures, fields)
            return JSONResponse({"predictions": rows})
        except Refused as error:
            return JSONResponse({"error": str(error)}, error.status)

    def predict(self, pictures: Pictures, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        """Decode and predict; Refused names every broken picture."""
        inputs, params = self._options(fields, len(pictures))
        pixels, broken = [], []
        for name, data in pictures:
            try:
                pixels.append(self.served.decode(data))
            except ValueError as error:
                broken.append(f"{name}: {error}")
        if broken:
            raise Refused(400, "; ".join(broken))
        if hasattr(self.served, "size_of"):  # a detector, whose boxes are in pixels of the picture as it was sent
            inputs["size"] = np.array([self.served.size_of(data) for _, data in pictures])
        try:
            rows = answers(self.served, np.stack(pixels), inputs, params)
        except ValueError as error:
            raise Refused(400, str(error)) from None
        return [{"file": name, **row} for (name, _), row in zip(pictures, rows, strict=True)]

    async def _read(self, request: Request) -> tuple[Pictures, dict[str, str]]:
        """Read pictures and further fields."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if int(request.headers.get("content-length") or 0) > self.max_bytes:
            raise self._too_large()
        fields = dict(request.query_params)
        if kind == "multipart/form-data":
            pictures, more = await self._form(request)
            fields |= more
        elif kind.startswith("image/") or kind == "application/octet-stream":
            pictures = [("body", b"".join([part async for part in self._stream(request)]))]
        else:
            raise Refused(
                415, f"Content-Type {kind or '(none)'}: multipart/form-data with files {FIELD!r}, or image/... is expected"
            )
        if not pictures:
            raise Refused(400, f"no picture: send one or several files as the field {FIELD!r}")
        return pictures, fields

    async def _form(self, request: Request) -> tuple[Pictures, dict[str, str]]:
        parser = MultiPartParser(request.headers, self._stream(request), max_files=MAX_PICTURES, max_fields=MAX_PICTURES)
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise Refused(400, error.message) from None
        pictures: Pictures = []
        fields = {}
        for name, value in form.multi_items():
            if isinstance(value, UploadFile) and name == FIELD:
                pictures.append((value.filename or f"picture {len(pictures)}", await value.read()))
            elif isinstance(value, UploadFile) or name == FIELD:
                raise Refused(
                    400, f"field {name!r}: only {FIELD!r} holds files" if name != FIELD else f"{FIELD!r} must be a file"
                )
            else:
                fields[name] = value
        await form.close()
        return pictures, fields

    async def _stream(self, request: Request) -> AsyncGenerator[bytes, None]:
        """Yield the body; Refused once it is too long, whatever its header claims."""
        total = 0
        async for part in request.stream():
            total += len(part)
            if total > self.max_bytes:
                raise self._too_large()
            yield part

    def _too_large(self) -> Refused:
        return Refused(413, f"a request may have at most {self.max_bytes:,} bytes (DARKROOM_MAX_REQUEST_MB on the server)")

    def _options(self, fields: Mapping[str, str], number: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Convert fields to inputs [number], of numbers or names of domains and classes, and parameters."""
        inputs = {entry["name"]: entry for entry in self.signature["inputs"] if len(entry["shape"]) == 1}
        params = {entry["name"]: entry for entry in self.signature["params"]}
        if unknown := sorted(set(fields) - set(inputs) - set(params)):
            raise Refused(400, f"field {unknown[0]!r} is not known; allowed: {', '.join([FIELD, *inputs, *params])}")
        if missing := sorted(set(inputs) - set(fields)):
            raise Refused(400, f"field {missing[0]!r} is missing")
        values = {name: np.full(number, self._index(name, fields[name])) for name in inputs}
        return values, {name: _parameter(params[name], text) for name, text in fields.items() if name in params}

    def _index(self, name: str, text: str) -> int:
        facts = self.served.facts
        names = list(facts.get("domains" if name == "domain" else "classes") or ())
        if text in names:
            return names.index(text)
        try:
            return int(text)
        except ValueError:
            raise Refused(400, f"{name}: {text!r} is not allowed: {', '.join(map(str, names)) or 'a whole number'}") from None


def _parameter(entry: Mapping[str, Any], text: str) -> Any:
    """Parse a parameter's JSON form; text stays text, and a list of texts may be divided by commas."""
    if entry["dtype"] == "str" and not ("shape" in entry and text.lstrip().startswith("[")):
        return [part.strip() for part in text.split(",")] if "shape" in entry else text
    try:
        return json.loads(text)
    except ValueError:
        raise Refused(400, f"{entry['name']}: {text!r} is not allowed: a value of type {entry['dtype']} is expected") from None

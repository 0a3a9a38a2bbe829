"""Settings of a view's captions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from components.core.config.strict import Strict


class TextSettings(Strict):
    """Captions become ``tokens`` [N, T], T = ``context_length``.

    ``tokeniser``: "bytes" (UTF-8, padded with zeros, no start and end), "bpe" (byte-level BPE, learnt from the training split's
    captions) or "openai" (CLIP's vocabulary, from its ``file``). A longer caption is an error, or with ``truncate`` cut: bytes
    after the last whole character that fits, the others before the end of text, which stays.
    """

    context_length: int = Field(ge=1, le=4096, description="tokens of a caption; of a BPE with start and end of text")
    truncate: bool = Field(default=False, description="cut longer captions, and count them in the view's report")
    tokeniser: Literal["bytes", "bpe", "openai"] = Field(
        default="bytes",
        description="bytes: UTF-8; bpe: byte-level BPE learnt from the training split's captions; openai: CLIP's vocabulary",
    )
    vocabulary: int = Field(
        default=2048, ge=514, le=8192, description="most tokens of a learnt BPE: 512 for bytes, 2 for start and end, the merges"
    )
    file: str | None = Field(
        default=None, min_length=1, description="OpenAI's bpe_simple_vocab_16e6.txt.gz, from the folder of params.yaml"
    )

    @model_validator(mode="after")
    def _agrees(self) -> TextSettings:
        if (self.file is not None) != (self.tokeniser == "openai"):
            raise ValueError("tokeniser: openai needs file, OpenAI's bpe_simple_vocab_16e6.txt.gz; no other takes one")
        if "vocabulary" in self.model_fields_set and self.tokeniser != "bpe":
            raise ValueError(f"vocabulary needs tokeniser: bpe, this is {self.tokeniser}")
        if self.tokeniser != "bytes" and self.context_length < 3:
            raise ValueError(f"context_length {self.context_length} holds no text between start and end; at least 3")
        return self

"""A translation model of transformers (`AutoModelForSeq2SeqLM`), float32 on the CPU and bfloat16 on a GPU.

torch and transformers are imported when a model is opened: `data_prep` itself needs neither.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from common.errors import InputError, loading
from common.files import file_sha256
from data_prep.storage.store import short_hash
from data_prep.translation import processes
from data_prep.translation.families import FAMILIES

LONGEST = 512  # tokens of a source sentence; no family was trained on longer ones
_SMALL = ["*.json", "*.model", "*.txt"]  # all but the weights
_WEIGHTS = ["*.safetensors", "*.bin"]


class Seq2Seq:
    """The model in a folder or on the Hub; `beams` of 1 is greedy search. Its weights are loaded when first needed."""

    def __init__(self, model: str, beams: int) -> None:
        """`InputError` for a folder without a model, or a model of no known family."""
        from transformers import AutoConfig, AutoTokenizer

        folder, self.beams, commit = Path(model), beams, None
        with loading(f"--model {model}", "expected a folder or Hub id of a translation model"):
            if not folder.is_dir():
                from huggingface_hub import snapshot_download

                commit = Path(snapshot_download(model, allow_patterns=_SMALL, ignore_patterns=["*/*"])).name
            kind = AutoConfig.from_pretrained(model, revision=commit).model_type
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model, revision=commit)
        family = next((one for one in FAMILIES if kind in one.types and self._known(one.tokens("en"))), None)
        if family is None:
            raise InputError(f"--model {model}: expected M2M100, NLLB or MADLAD, which have a token for English")
        self._family, self._model_of = family, (model, commit)
        self.licence = family.licence
        self.name = model if commit else folder.resolve().name
        self.revision = f"{(commit or short_hash(_digests(folder)))[:12]}-beams{beams}"

    def check(self, source: str, target: str) -> None:
        for code in (source, target):
            if not self._known(self._family.tokens(code)):
                raise InputError(f"--to {code}: {self.name} has no such language")

    def length(self, text: str) -> int:
        return len(self._tokenizer(text)["input_ids"])

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str | None]:
        import torch

        tokenizer, device = self._tokenizer, self._model.device
        from_token, to_token = (self._known(self._family.tokens(code)) for code in (source, target))
        inputs, options = list(texts), dict[str, int]()
        if self._family.in_text:
            inputs = [f"{to_token} {text}" for text in texts]
        else:
            tokenizer.src_lang = from_token.strip("_")
            options = {"forced_bos_token_id": tokenizer.convert_tokens_to_ids(to_token)}
        batch = tokenizer(inputs, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt").to(device)
        longest = batch["input_ids"].shape[1]
        with torch.inference_mode():
            made = self._model.generate(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], num_beams=self.beams,
                do_sample=False, max_new_tokens=2 * longest + 16, **options,
            )  # fmt: skip
        # The first token is what the decoder starts with, in M2M100 that of the end.
        ended = (made[:, 1:] == tokenizer.eos_token_id).any(dim=1) & (batch["attention_mask"].sum(dim=1) < LONGEST)
        found = tokenizer.batch_decode(made, skip_special_tokens=True)
        return [text.strip() if end else None for text, end in zip(found, ended.tolist(), strict=True)]

    def _known(self, tokens: Sequence[str]) -> str:
        """The first of `tokens` in the vocabulary, or ""."""
        unknown = (None, self._tokenizer.unk_token_id)
        return next((token for token in tokens if self._tokenizer.convert_tokens_to_ids(token) not in unknown), "")

    @cached_property
    def _model(self) -> Any:
        import torch
        from transformers import AutoModelForSeq2SeqLM

        dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
        name, commit = self._model_of
        model = AutoModelForSeq2SeqLM.from_pretrained(name, revision=commit, dtype=dtype)
        return model.to(processes.state().device).eval()


def _digests(folder: Path) -> list[tuple[str, str]]:
    """Name and sha256 of the files of a model."""
    paths = sorted({path for pattern in (*_SMALL, *_WEIGHTS) for path in folder.glob(pattern)})
    return [(path.name, file_sha256(path)) for path in paths]
